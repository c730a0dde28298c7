//! Invariants, and the number of checks of each.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;

/// Rule that holds throughout a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Invariant {
    Revoked,
    Good,
    Undone,
    Bound,
    Room,
    Charges,
    Sessions,
    Order,
    Arrival,
    Deadline,
    Reasons,
    Calm,
    Alone,
    Median,
    Tail,
    Cores,
    Ready,
    Breaker,
    Memory,
    Descriptors,
    Connections,
}

/// Account of one invariant.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Account {
    pub(super) checks: u64,
    pub(super) broken: u64,
    /// First counter-example.
    pub(super) first: Option<String>,
    /// Counter-examples by the latest fault before them.
    pub(super) by_fault: BTreeMap<String, u64>,
    /// Excused counter-examples: the machine stood still or was too busy; and the first of them.
    pub(super) excused: u64,
    pub(super) first_excused: Option<String>,
}

/// Accounts of all invariants.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: Mutex<BTreeMap<Invariant, Account>>,
}

/// Counter-examples of each invariant that are shown when they are found.
const SHOWN: u64 = 10;

// === impl Invariant ===

impl Invariant {
    pub(super) const ALL: [Invariant; 21] = [
        Invariant::Revoked,
        Invariant::Good,
        Invariant::Undone,
        Invariant::Bound,
        Invariant::Room,
        Invariant::Charges,
        Invariant::Sessions,
        Invariant::Order,
        Invariant::Arrival,
        Invariant::Deadline,
        Invariant::Reasons,
        Invariant::Calm,
        Invariant::Alone,
        Invariant::Median,
        Invariant::Tail,
        Invariant::Cores,
        Invariant::Ready,
        Invariant::Breaker,
        Invariant::Memory,
        Invariant::Descriptors,
        Invariant::Connections,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Invariant::Revoked => "revoked stays rejected",
            Invariant::Good => "good tokens pass",
            Invariant::Undone => "undone tokens pass",
            Invariant::Bound => "never over the limit",
            Invariant::Room => "room comes back",
            Invariant::Charges => "charges are kept",
            Invariant::Sessions => "sessions are kept",
            Invariant::Order => "events in order, once",
            Invariant::Arrival => "events arrive",
            Invariant::Deadline => "deadlines are kept",
            Invariant::Reasons => "documented errors",
            Invariant::Calm => "no errors in calm",
            Invariant::Alone => "one cut off is not noticed",
            Invariant::Median => "p50 as before",
            Invariant::Tail => "p99 as before",
            Invariant::Cores => "CPU as before",
            Invariant::Ready => "ready again",
            Invariant::Breaker => "breaker closed",
            Invariant::Memory => "memory is flat",
            Invariant::Descriptors => "descriptors are flat",
            Invariant::Connections => "connections are flat",
        }
    }

    /// Reports whether a busy machine can break the invariant too.
    pub(super) fn is_timed(self) -> bool {
        match self {
            Invariant::Room
            | Invariant::Arrival
            | Invariant::Deadline
            | Invariant::Calm
            | Invariant::Alone
            | Invariant::Median
            | Invariant::Tail
            | Invariant::Cores
            | Invariant::Ready
            | Invariant::Breaker => true,
            Invariant::Revoked
            | Invariant::Good
            | Invariant::Undone
            | Invariant::Bound
            | Invariant::Charges
            | Invariant::Sessions
            | Invariant::Order
            | Invariant::Reasons
            | Invariant::Memory
            | Invariant::Descriptors
            | Invariant::Connections => false,
        }
    }

    /// Rule, in a line.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Invariant::Revoked => "no check begun 100 ms after a revocation's acknowledgement answers ACTIVE",
            Invariant::Good => "a token that nobody revoked is not rejected",
            Invariant::Undone => "a token is good a second after its revocation was undone",
            Invariant::Bound => "admitted and not returned: at most burst + t·rate, over any time t",
            Invariant::Room => "a bucket left alone until it must be empty admits",
            Invariant::Charges => "a charge can be settled while it is remembered",
            Invariant::Sessions => "what was acknowledged is read back; versions grow; what ended stays ended",
            Invariant::Order => "ids grow, and versions by one, over reconnects",
            Invariant::Arrival => "an acknowledged change reaches its watchers within 2 s",
            Invariant::Deadline => "a call ends by its deadline and 250 ms",
            Invariant::Reasons => "an error has a code and a reason that docs/errors.md lists",
            Invariant::Calm => "no call fails while nothing is wrong",
            Invariant::Alone => {
                "a second after one instance is cut off from the store, no call through the gateway fails"
            }
            Invariant::Median => "5 s after a fault, p50 is within 1.5 times or 1 ms of the baseline",
            Invariant::Tail => "so is p99 and 20 ms, for 97 of 100 calls",
            Invariant::Cores => "5 s after a fault, the services use at most 1.5 times the CPU, or 0.3 cores more",
            Invariant::Ready => "5 s after a fault, each instance is ready",
            Invariant::Breaker => "5 s after a fault, each breaker is closed",
            Invariant::Memory => "a process's resident memory grows by at most a quarter, or 16 MiB",
            Invariant::Descriptors => "a process has at most 4 open descriptors more",
            Invariant::Connections => "the store has at most 4 connections more",
        }
    }
}

// === impl Ledger ===

impl Ledger {
    /// Notes that an invariant was looked at; the counter-example, if it did not hold.
    pub(super) fn note(&self, invariant: Invariant, fault: &str, counter_example: Option<String>) {
        let mut accounts = self.accounts.lock();
        let account = accounts.entry(invariant).or_default();
        account.checks += 1;
        let Some(text) = counter_example else { return };
        account.broken += 1;
        *account.by_fault.entry(fault.to_owned()).or_default() += 1;
        if account.broken <= SHOWN {
            eprintln!("broken: {}: {text}", invariant.name());
        }
        account.first.get_or_insert(text);
    }

    /// Notes a counter-example that the machine explains.
    pub(super) fn excuse(&self, invariant: Invariant, text: String) {
        let mut accounts = self.accounts.lock();
        let account = accounts.entry(invariant).or_default();
        account.excused += 1;
        account.first_excused.get_or_insert(text);
    }

    pub(super) fn account(&self, invariant: Invariant) -> Account {
        self.accounts.lock().get(&invariant).cloned().unwrap_or_default()
    }

    /// Counter-examples of all invariants.
    pub(super) fn broken(&self) -> u64 {
        self.accounts.lock().values().map(|account| account.broken).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_counter_example_is_kept_and_all_are_counted() {
        let ledger = Ledger::default();
        ledger.note(Invariant::Good, "calm", None);
        ledger.note(Invariant::Good, "cut", Some("one".to_owned()));
        ledger.note(Invariant::Good, "cut", Some("two".to_owned()));
        let account = ledger.account(Invariant::Good);
        assert_eq!((account.checks, account.broken, account.first.as_deref()), (3, 2, Some("one")));
        assert_eq!((account.by_fault["cut"], ledger.broken()), (2, 2));
        assert_eq!(ledger.account(Invariant::Bound).checks, 0);
    }
}
