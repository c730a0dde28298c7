//! Memory, descriptors and connections, from the first calm part to the last.

use std::collections::BTreeMap;

use serde::Serialize;

use super::book::Book;
use super::fleet::Fleet;
use super::ledger::Invariant;
use super::stage::Store;
use crate::{Error, machine};

/// Looks at the processes in each calm part.
#[derive(Debug, Default)]
pub(super) struct Flat {
    /// Processes by id: a restarted process is another one.
    processes: BTreeMap<u32, Process>,
    connections: Option<[usize; 2]>,
    looks: u32,
    store_bytes: Option<[u64; 2]>,
}

/// Process, when it was looked at first and last.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) looks: u32,
    pub(super) rss: [u64; 2],
    pub(super) descriptors: [usize; 2],
}

/// Report on flatness.
#[derive(Debug, Serialize)]
pub(super) struct Level {
    pub(super) processes: Vec<Process>,
    pub(super) connections: [usize; 2],
    /// Memory of all nodes of the store: it may grow, since audits and events are kept.
    pub(super) store_bytes: [u64; 2],
}

/// Allowed growth of each.
const RSS_SHARE: u64 = 4;
const RSS_LEAST: u64 = 16 << 20;
const DESCRIPTORS: usize = 4;
const CONNECTIONS: usize = 4;

// === impl Flat ===

impl Flat {
    /// Looks at everything, while it is calm.
    pub(super) fn look(&mut self, fleet: &Fleet, store: &Store) -> Result<(), Error> {
        for instance in &fleet.instances {
            let Some(pid) = instance.pid() else { continue };
            let (rss, descriptors) = (machine::rss(pid)?, machine::descriptors(pid)?);
            let name = instance.name();
            let process = self.processes.entry(pid).or_insert_with(|| Process {
                name,
                looks: 0,
                rss: [rss; 2],
                descriptors: [descriptors; 2],
            });
            process.looks += 1;
            process.rss = level(process.looks, process.rss[0], rss);
            process.descriptors = level(process.looks, process.descriptors[0], descriptors);
        }
        let (connections, bytes) = (store.connections()?, store.memory()?);
        let both = self.connections.get_or_insert([connections; 2]);
        self.looks += 1;
        *both = level(self.looks, both[0], connections);
        self.store_bytes.get_or_insert([bytes; 2])[1] = bytes;
        Ok(())
    }

    /// Holds the last look against the first.
    pub(super) fn judge(self, book: &Book) -> Level {
        let processes: Vec<_> = self.processes.into_values().filter(|process| process.looks > 1).collect();
        for process in &processes {
            let (name, [first, last]) = (&process.name, process.rss);
            let grown = last > first + (first / RSS_SHARE).max(RSS_LEAST);
            book.hold(Invariant::Memory, || {
                grown.then(|| format!("{name}: {} KiB at first, {} KiB at last", first / 1024, last / 1024))
            });
            let [first, last] = process.descriptors;
            book.hold(Invariant::Descriptors, || {
                (last > first + DESCRIPTORS).then(|| format!("{name}: {first} at first, {last} at last"))
            });
        }
        let [first, last] = self.connections.unwrap_or_default();
        book.hold(Invariant::Connections, || {
            (last > first + CONNECTIONS).then(|| format!("{first} at first, {last} at last"))
        });
        Level { processes, connections: [first, last], store_bytes: self.store_bytes.unwrap_or_default() }
    }
}

/// First value: the larger of the first two looks, since some connections may be missing in the first.
fn level<T: Ord + Copy>(looks: u32, first: T, now: T) -> [T; 2] {
    [if looks <= 2 { first.max(now) } else { first }, now]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rss: [u64; 2], descriptors: [usize; 2], connections: [usize; 2]) -> [u64; 3] {
        let process = Process { name: "p".to_owned(), looks: 2, rss, descriptors };
        let flat =
            Flat { processes: [(1, process)].into(), connections: Some(connections), looks: 2, store_bytes: None };
        let book = Book::new();
        flat.judge(&book);
        [Invariant::Memory, Invariant::Descriptors, Invariant::Connections].map(|one| book.ledger.account(one).broken)
    }

    #[test]
    fn what_grows_is_seen() {
        assert_eq!(judged([100 << 20, 125 << 20], [50, 54], [30, 34]), [0, 0, 0]);
        assert_eq!(judged([100 << 20, 126 << 20], [50, 55], [30, 35]), [1, 1, 1]);
        assert_eq!(judged([20 << 20, 36 << 20], [50, 10], [30, 1]), [0, 0, 0]);
        assert_eq!(judged([20 << 20, 37 << 20], [50, 10], [30, 1]), [1, 0, 0]);
    }
}
