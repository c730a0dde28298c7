//! Confines a program to some cores, so that a measured one can have a core for itself.

use std::fs;

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use crate::Error;

/// Cores of this process: one, and all others.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    pub(crate) one: CpuSet,
    pub(crate) others: CpuSet,
    all: CpuSet,
}

/// Calling thread, and what it starts, is on some cores until this is dropped. To be dropped by the same thread.
pub(crate) struct Confined {
    before: CpuSet,
}

/// Cores of this process.
pub(crate) fn each() -> Result<Vec<CpuSet>, Error> {
    let all = sched_getaffinity(None)?;
    let cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
    Ok(cores
        .map(|core| {
            let mut one = CpuSet::new();
            one.set(core);
            one
        })
        .collect())
}

// === impl Split ===

impl Split {
    /// `None` where there is one core alone.
    pub(crate) fn new() -> Result<Option<Split>, Error> {
        let all = sched_getaffinity(None)?;
        let (mut one, mut others) = (CpuSet::new(), all);
        let Some(first) = (0..CpuSet::MAX_CPU).find(|core| all.is_set(*core)) else { return Ok(None) };
        one.set(first);
        others.unset(first);
        Ok((others.count() > 0).then_some(Split { one, others, all }))
    }

    /// Moves a running process to the other cores.
    pub(crate) fn move_aside(&self, pid: u32) -> Result<(), Error> {
        place(pid, &self.others)
    }

    /// Returns to all cores.
    pub(crate) fn move_back(&self, pid: u32) -> Result<(), Error> {
        place(pid, &self.all)
    }
}

// === impl Confined ===

impl Confined {
    pub(crate) fn to(cores: &CpuSet) -> Result<Confined, Error> {
        let before = sched_getaffinity(None)?;
        sched_setaffinity(None, cores)?;
        Ok(Confined { before })
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// Counts the cores of every thread.
fn place(pid: u32, cores: &CpuSet) -> Result<(), Error> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.file_name().to_string_lossy().parse()?;
        sched_setaffinity(Some(Pid::from_raw(thread).ok_or("a thread without a number")?), cores)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_of_a_confined_thread_are_confined() {
        let Some(split) = Split::new().unwrap() else { return };
        let confined = Confined::to(&split.one).unwrap();
        let cores = std::thread::available_parallelism().unwrap();
        drop(confined);
        assert_eq!(cores.get(), 1);
        assert_eq!(sched_getaffinity(None).unwrap().count(), split.one.count() + split.others.count());
    }
}
