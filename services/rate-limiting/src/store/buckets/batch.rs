//! Batches concurrent groups into few calls of the script.
//!
//! Calls of a script write to the socket and start Lua, which costs more than a decision. A few calls are in flight at
//! a time; groups that arrive meanwhile share the next call. No group waits for others while there is room, and batches grow with
//! load. Groups are independent of each other.
//!
//! Groups of a cluster are batched by ranges of slots, so that a node which does not answer delays its own groups alone.

use std::sync::Arc;

use keyplane_valkey::Valkey;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::reply::Reply;
use super::request::{Group, ScriptCall};
use super::script::DECIDE;
use crate::error::Error;

/// Sizes of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSettings {
    /// Most groups of one call.
    pub groups: usize,
    /// Most calls in flight.
    pub calls: usize,
    /// Most groups that wait.
    pub queue: usize,
}

/// Batches groups. Cheap to clone; ends with the last clone.
#[derive(Clone)]
pub(super) struct Batcher {
    valkey: Valkey,
    /// Single queue, or one for each range of slots.
    queues: Arc<[mpsc::Sender<Waiting>]>,
}

/// Ranges that a cluster's slots are batched by.
const RANGES: u16 = 64;
/// Slots of a cluster.
const SLOTS: u16 = 16_384;

/// Group that waits to be sent.
struct Waiting {
    group: Group,
    /// Deadline of the caller.
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
            tokio::spawn(batch_groups(valkey.clone(), settings, waiting));
            queue
        };
        Batcher { queues: (0..ranges).map(queue).collect(), valkey }
    }

    /// Queue of a group.
    fn queue(&self, group: &Group) -> Option<&mpsc::Sender<Waiting>> {
        let slot = slot(&self.valkey, group).unwrap_or_default();
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
        // The sender is dropped unused if its group came too late to be sent.
        answered.unwrap_or(Err(Error::NoAnswer { unknown: false }))
    }
}

async fn batch_groups(valkey: Valkey, settings: BatchSettings, mut waiting: mpsc::Receiver<Waiting>) {
    let room = Arc::new(Semaphore::new(settings.calls.max(1)));
    loop {
        // Room for a call comes first, then all groups that arrived meanwhile.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Some(first) = waiting.recv().await else { return };
        // Tasks that are ready on this thread add their groups first.
        tokio::task::yield_now().await;
        let mut batch = Vec::with_capacity(waiting.len().min(settings.groups) + 1);
        batch.push(first);
        while batch.len() < settings.groups
            && let Ok(next) = waiting.try_recv()
        {
            batch.push(next);
        }
        let now = Instant::now();
        // A caller that stopped waiting is not charged.
        batch.retain(|waiting| !waiting.answer.is_closed() && waiting.until.is_none_or(|until| until > now));
        if batch.is_empty() {
            continue;
        }
        let valkey = valkey.clone();
        let span = batch.iter().map(|waiting| &waiting.span).find(|span| !span.is_disabled()).cloned();
        let run = async move {
            send(&valkey, batch).await;
            drop(permit);
        };
        tokio::spawn(run.instrument(span.unwrap_or_else(Span::none)));
    }
}

fn slot(valkey: &Valkey, group: &Group) -> Option<u16> {
    valkey.place(&group.buckets.first()?.key.0)
}

/// Sends one call for each slot of a cluster.
async fn send(valkey: &Valkey, batch: Vec<Waiting>) {
    if !valkey.is_cluster() {
        return send_together(valkey, batch).await;
    }
    let mut slots: Vec<(Option<u16>, Vec<Waiting>)> = Vec::with_capacity(1);
    for waiting in batch {
        let slot = slot(valkey, &waiting.group);
        match slots.iter_mut().find(|(other, _)| *other == slot) {
            Some((_, others)) => others.push(waiting),
            None => slots.push((slot, vec![waiting])),
        }
    }
    futures::future::join_all(slots.into_iter().map(|(_, batch)| send_together(valkey, batch))).await;
}

async fn send_together(valkey: &Valkey, batch: Vec<Waiting>) {
    let call = ScriptCall::new(batch.iter().map(|waiting| &waiting.group));
    let result = valkey.run_together(&DECIDE, &call.keys, &[call.arg()]).await;
    let bytes = result.and_then(|reply| reply.bytes().map_err(|error| error.in_operation(DECIDE.name())));
    match bytes {
        Ok(bytes) => answer(batch, &bytes),
        Err(error) => {
            for waiting in batch {
                // A closed channel belongs to a caller that stopped waiting.
                let _ = waiting.answer.send(Err(Error::Store(error.clone())));
            }
        }
    }
}

fn answer(batch: Vec<Waiting>, mut bytes: &[u8]) {
    for waiting in batch {
        let reply = Reply::read(&mut bytes, &waiting.group);
        let _ = waiting.answer.send(reply);
    }
}
