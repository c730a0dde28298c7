//! Several callers, and calls at fixed moments.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::corpus::{Class, Question, Tenant};
use super::report::{Open, PROMISE, Several};
use super::service::{How, Service};
use crate::Error;
use crate::dice::Dice;
use crate::numbers::Latencies;
use crate::rig::{self, Services};

/// Connections of the callers.
const CONNECTIONS: usize = 4;
/// Pause between two searches during an import.
const PAUSE: Duration = Duration::from_millis(20);
/// Steps of the search for the highest rate.
const STEPS: u32 = 7;

/// Mix of all classes and tenants.
#[derive(Clone)]
struct Mix {
    tenants: Arc<[Tenant]>,
}

// === impl Mix ===

impl Mix {
    fn next(&self, dice: &mut Dice) -> (Tenant, Question) {
        let class = Class::ALL[usize::try_from(dice.below(3)).unwrap_or(0)];
        let tenant = self.tenants[usize::try_from(dice.below(self.tenants.len() as u64)).unwrap_or(0)];
        (tenant, Question::new(class, dice))
    }
}

/// Closed loops of 8 and of 32 callers.
pub(super) async fn several(services: &Services, tenants: &[Tenant], slice: Duration) -> Result<Vec<Several>, Error> {
    let mix = Mix { tenants: tenants.into() };
    let channels = rig::channels(services.addresses.service, CONNECTIONS).await?;
    let mut results = Vec::new();
    for callers in [8, 32] {
        let until = Instant::now() + slice;
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let (mut service, mix) = (Service::new(channels[caller % CONNECTIONS].clone()), mix.clone());
            tasks.spawn(async move {
                let (mut dice, mut latencies) = (Dice::seeded(caller as u64), Latencies::new());
                while Instant::now() < until {
                    let (tenant, question) = mix.next(&mut dice);
                    let start = Instant::now();
                    service.ask(tenant, &question, How::Plain).await?;
                    latencies.record(start.elapsed());
                }
                Ok::<_, Error>(latencies)
            });
        }
        let mut all = Latencies::new();
        while let Some(done) = tasks.join_next().await {
            all.add(&done??);
        }
        results.push(Several {
            callers,
            calls_per_second: all.count() as f64 / slice.as_secs_f64(),
            latency_us: all.percentiles(),
        });
    }
    Ok(results)
}

/// Highest rate of calls at fixed moments whose p99 keeps the promise: doubles, then halves the step.
pub(super) async fn open(services: &Services, tenants: &[Tenant], slice: Duration) -> Result<Open, Error> {
    let mix = Mix { tenants: tenants.into() };
    let channels = rig::channels(services.addresses.service, CONNECTIONS).await?;
    let (mut rate, mut step) = (50.0, 50.0);
    let mut best = Open { rate: 0.0, latency_us: Latencies::new().percentiles() };
    let mut growing = true;
    for _ in 0..STEPS {
        let latency_us = at_rate(&channels, &mix, rate, slice).await?.percentiles();
        let met = latency_us.p99 < PROMISE;
        if met && rate > best.rate {
            best = Open { rate, latency_us };
        }
        growing &= met;
        step = if growing { rate } else { step / 2.0 };
        rate += if met { step } else { -step };
    }
    Ok(best)
}

/// Sends a call at each due moment; each latency counts from the moment at which the call was due.
async fn at_rate(
    channels: &[tonic::transport::Channel],
    mix: &Mix,
    rate: f64,
    slice: Duration,
) -> Result<Latencies, Error> {
    let gap = Duration::from_secs_f64(1.0 / rate.max(1.0));
    let (mut dice, mut tasks, start) = (Dice::seeded(7), JoinSet::new(), Instant::now());
    let latencies = Arc::new(Mutex::new(Latencies::new()));
    let mut due = start;
    let mut turn = 0;
    while due < start + slice {
        tokio::time::sleep_until(due.into()).await;
        let (tenant, question) = mix.next(&mut dice);
        let (mut service, latencies, at) =
            (Service::new(channels[turn % CONNECTIONS].clone()), Arc::clone(&latencies), due);
        tasks.spawn(async move {
            service.ask(tenant, &question, How::Plain).await?;
            latencies.lock().record(at.elapsed());
            Ok::<_, Error>(())
        });
        turn += 1;
        due += gap;
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let latencies = latencies.lock().clone();
    Ok(latencies)
}

/// Searches of a tenant until `stop` is set.
pub(super) async fn meanwhile(mut service: Service, tenant: Tenant, stop: Arc<AtomicBool>) -> Latencies {
    let (mut dice, mut latencies) = (Dice::seeded(1), Latencies::new());
    while !stop.load(Ordering::Relaxed) {
        let question = Question::new(Class::Middle, &mut dice);
        let start = Instant::now();
        if service.ask(tenant, &question, How::Plain).await.is_ok() {
            latencies.record(start.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
    latencies
}
