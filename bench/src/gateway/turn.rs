//! Turn of one gateway with one kind of request.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::oneshot;

use super::Options;
use super::front::Front;
use super::kind::{Caller, Kind};
use crate::Error;
use crate::closed::{Caller as _, Target as _, Work};
use crate::pace::wait_until;

/// Requests of one turn, and their price.
pub(super) struct Turn {
    pub(super) work: Work,
    pub(super) elapsed: Duration,
    /// User and system time of Envoy and of the guard.
    pub(super) cpu: [Duration; 2],
    /// Questions to the guard.
    pub(super) asked: u64,
}

// === impl Turn ===

impl Turn {
    pub(super) async fn take(front: &Front, caller: &Caller, kind: Kind, options: Options) -> Result<Turn, Error> {
        let asked = front.asked()?;
        let (start, cpu) = (Instant::now(), front.cpu()?);
        let work = if kind == Kind::Full {
            let mut sum = Work::new();
            let until = tokio::time::Instant::now() + options.slice;
            for work in caller.drive(kind, options.concurrency.into(), until).await? {
                sum.add(work);
            }
            sum
        } else {
            pace(caller, kind, options).await?
        };
        let (elapsed, [envoy, guard]) = (start.elapsed(), front.cpu()?);
        let cpu = [envoy.saturating_sub(cpu[0]), guard.saturating_sub(cpu[1])];
        Ok(Turn { work, elapsed, cpu, asked: front.asked()? - asked })
    }

    /// Requests that were answered, well or not.
    pub(super) fn requests(&self) -> f64 {
        (self.work.latencies.count() + self.work.failed).max(1) as f64
    }

    /// Microseconds of CPU a request, of both processes.
    pub(super) fn cpu_us(&self) -> f64 {
        self.cpu.iter().sum::<Duration>().as_secs_f64() * 1e6 / self.requests()
    }
}

/// Makes requests at fixed moments, whether or not earlier ones have been answered; latencies count from then.
async fn pace(caller: &Caller, kind: Kind, options: Options) -> Result<Work, Error> {
    let gap = Duration::from_secs(1) / options.rate;
    let total = (options.slice.as_secs_f64() / gap.as_secs_f64()) as u32;
    let (runtime, caller) = (tokio::runtime::Handle::current(), caller.clone());
    let (done, sent) = oneshot::channel();
    std::thread::Builder::new().name("pacer".to_owned()).spawn(move || {
        let start = Instant::now();
        let send = |number: u32| {
            let (due, mut caller) = (start + gap * number, caller.clone());
            wait_until(due);
            runtime.spawn(async move { (caller.call(kind, 0, number as usize).await, due.elapsed()) })
        };
        // Nobody waits any more if the run was given up.
        let _ = done.send((0..total).map(send).collect::<Vec<_>>());
    })?;
    let mut work = Work::new();
    for answer in join_all(sent.await?).await {
        match answer? {
            (Ok(bytes), latency) => {
                work.latencies.record(latency);
                work.reply_bytes = bytes;
            }
            (Err(error), _) => {
                work.failed += 1;
                work.failure.get_or_insert(error);
            }
        }
    }
    Ok(work)
}
