//! Gathers what waits into few calls of the script.
//!
//! Each call of a script is a write to the socket and a start of Lua, which cost more than a decision does. So a few calls
//! are under way at a time, and what arrives meanwhile goes with the next one: nobody waits for others while there is
//! room, and the busier it is the more go together. Calls are independent of each other, whoever's they are.
//!
//! A cluster's slots are gathered in ranges, each by itself, so that a node which does not answer holds up its own and no others.

use std::sync::Arc;

use keyplane_valkey::Valkey;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::reply::Reply;
use super::request::{Group, ScriptCall};
use super::script::DECIDE;
use crate::error::Error;

/// How much goes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// Groups that one call takes, at most.
    pub groups: usize,
    /// Calls that are under way at a time.
    pub calls: usize,
    /// Groups that may wait.
    pub queue: usize,
}

/// Gathers groups. Cheap to clone; ends with the last clone.
#[derive(Clone)]
pub(super) struct Batcher {
    valkey: Valkey,
    /// One, or one for each range of slots.
    queues: Arc<[mpsc::Sender<Waiting>]>,
}

/// Ranges of a cluster's slots.
const RANGES: u16 = 64;
/// Slots of a cluster.
const SLOTS: u16 = 16_384;

/// A group that waits to be sent, and who waits for it.
struct Waiting {
    group: Group,
    /// From then on nobody waits any more.
    until: Option<Instant>,
    answer: oneshot::Sender<Result<Reply, Error>>,
    span: Span,
}

// === impl BatchSettings ===

impl Default for BatchSettings {
    fn default() -> BatchSettings {
        BatchSettings { groups: 128, calls: 2, queue: 10_000 }
    }
}

// === impl Batcher ===

impl Batcher {
    pub(super) fn start(valkey: Valkey, settings: BatchSettings) -> Batcher {
        let ranges = if valkey.is_cluster() { RANGES } else { 1 };
        let queue = |_| {
            let (queue, waiting) = mpsc::channel(settings.queue.max(1));
            tokio::spawn(gather(valkey.clone(), settings, waiting));
            queue
        };
        Batcher { queues: (0..ranges).map(queue).collect(), valkey }
    }

    /// The queue that a group waits in.
    fn queue(&self, group: &Group) -> Option<&mpsc::Sender<Waiting>> {
        let slot = place(&self.valkey, group).unwrap_or_default();
        self.queues.get(usize::from(slot / (SLOTS / RANGES)))
    }

    pub(super) async fn decide(&self, group: Group) -> Result<Reply, Error> {
        let until = keyplane_deadline::share().map(|left| Instant::now() + left);
        let (answer, answered) = oneshot::channel();
        let queue = self.queue(&group).ok_or(Error::Overloaded)?;
        queue.try_send(Waiting { group, until, answer, span: Span::current() }).map_err(|_| Error::Overloaded)?;
        let answered = match until {
            None => answered.await,
            Some(until) => {
                tokio::time::timeout_at(until, answered).await.map_err(|_| Error::NoAnswer { unknown: true })?
            }
        };
        // The sender is dropped unused when its group was too late to be sent.
        answered.unwrap_or(Err(Error::NoAnswer { unknown: false }))
    }
}

async fn gather(valkey: Valkey, settings: BatchSettings, mut waiting: mpsc::Receiver<Waiting>) {
    let room = Arc::new(Semaphore::new(settings.calls.max(1)));
    loop {
        // First the room, then what has gathered meanwhile.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Some(first) = waiting.recv().await else { return };
        // Calls whose turn on this thread is next come along.
        tokio::task::yield_now().await;
        let mut batch = Vec::with_capacity(waiting.len().min(settings.groups) + 1);
        batch.push(first);
        while batch.len() < settings.groups
            && let Ok(one) = waiting.try_recv()
        {
            batch.push(one);
        }
        let now = Instant::now();
        // Whoever is gone is not charged.
        batch.retain(|one| !one.answer.is_closed() && one.until.is_none_or(|until| until > now));
        if batch.is_empty() {
            continue;
        }
        let valkey = valkey.clone();
        let span = batch.iter().map(|one| &one.span).find(|span| !span.is_disabled()).cloned();
        let run = async move {
            send(&valkey, batch).await;
            drop(permit);
        };
        tokio::spawn(run.instrument(span.unwrap_or_else(Span::none)));
    }
}

fn place(valkey: &Valkey, group: &Group) -> Option<u16> {
    valkey.place(&group.buckets.first()?.key.0)
}

/// One call for each place.
async fn send(valkey: &Valkey, batch: Vec<Waiting>) {
    if !valkey.is_cluster() {
        return send_together(valkey, batch).await;
    }
    let mut places: Vec<(Option<u16>, Vec<Waiting>)> = Vec::with_capacity(1);
    for one in batch {
        let at = place(valkey, &one.group);
        match places.iter_mut().find(|(place, _)| *place == at) {
            Some((_, others)) => others.push(one),
            None => places.push((at, vec![one])),
        }
    }
    futures::future::join_all(places.into_iter().map(|(_, batch)| send_together(valkey, batch))).await;
}

async fn send_together(valkey: &Valkey, batch: Vec<Waiting>) {
    let call = ScriptCall::new(batch.iter().map(|one| &one.group));
    let result = valkey.run_together(&DECIDE, &call.keys, &[call.arg()]).await;
    let bytes = result.and_then(|reply| reply.bytes().map_err(|error| error.in_operation(DECIDE.name())));
    match bytes {
        Ok(bytes) => answer(batch, &bytes),
        Err(error) => {
            for one in batch {
                // Whoever does not wait any more has an answer already.
                let _ = one.answer.send(Err(Error::Store(error.clone())));
            }
        }
    }
}

fn answer(batch: Vec<Waiting>, mut bytes: &[u8]) {
    for one in batch {
        let reply = Reply::read(&mut bytes, &one.group);
        let _ = one.answer.send(reply);
    }
}
