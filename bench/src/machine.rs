//! Figures of `/proc` on this machine and on single processes.

use std::fs;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::Error;

/// Machine behind the figures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) valkey: String,
    pub(crate) build: &'static str,
}

/// Time that all cores together spent, since the machine started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    busy: Duration,
    all: Duration,
}

/// Tick of `/proc/*/stat`: Linux reports 100 a second to user space, whatever the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

// === impl Machine ===

impl Machine {
    pub(crate) fn here(valkey: String) -> Machine {
        let line = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let value = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
            value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let memory = line("/proc/meminfo", "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Machine {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            cpu: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib / 1024,
            kernel: kernel.trim().to_owned(),
            valkey,
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }

    /// Describes the machine in one line.
    pub(crate) fn line(&self) -> String {
        let Machine { date, cpu, cores, memory_mib, kernel, valkey, build } = self;
        format!(
            "{date}, {cores} cores of {cpu}, {memory_mib} MiB, Linux {kernel}, Valkey {valkey}, {build} build; \
             generator, services and Valkey share the machine"
        )
    }
}

// === impl Cores ===

impl Cores {
    pub(crate) fn now() -> Result<Cores, Error> {
        let text = fs::read_to_string("/proc/stat")?;
        // cpu user nice system idle iowait irq softirq steal; guest time is part of user time.
        let ticks: Vec<u32> = text
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|field| field.parse().ok())
            .collect();
        let [user, nice, system, idle, wait, irq, softirq, steal] = ticks[..] else {
            return Err("/proc/stat has another form than Linux gives it".into());
        };
        let busy = TICK * user + TICK * nice + TICK * system + TICK * irq + TICK * softirq + TICK * steal;
        Ok(Cores { busy, all: busy + TICK * idle + TICK * wait })
    }

    /// Share of the machine, 0 to 1, that was used since `start` by anything but `ours`.
    pub(crate) fn used_by_others(self, start: Cores, ours: Duration) -> f64 {
        let all = self.all.saturating_sub(start.all);
        let others = self.busy.saturating_sub(start.busy).saturating_sub(ours);
        if all.is_zero() { 0.0 } else { others.as_secs_f64() / all.as_secs_f64() }
    }
}

/// User and system time that a process has used.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Error> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold blanks; utime and stime are the 12th and 13th fields after it.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: Vec<u32> = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Ok(TICK * user + TICK * system),
        _ => Err(format!("/proc/{pid}/stat has another form than Linux gives it").into()),
    }
}

/// Resident memory of a process, in bytes.
pub(crate) fn rss(pid: u32) -> Result<u64, Error> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()).and_then(|number| number.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| format!("process {pid} has no resident memory").into())
}

/// Open file descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> Result<usize, Error> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let pid = std::process::id();
        assert!(cpu(pid).unwrap() < Duration::from_hours(1));
        assert!(rss(pid).unwrap() > 100_000);
        assert!(descriptors(pid).unwrap() > 2);
        let start = Cores::now().unwrap();
        assert!((0.0..=1.0).contains(&Cores::now().unwrap().used_by_others(start, Duration::ZERO)));
    }
}
