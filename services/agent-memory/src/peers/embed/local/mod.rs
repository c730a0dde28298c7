//! Model on this machine, on threads of its own: inference must not hold up the threads that answer calls.

mod batch;
mod bert;
mod model;
mod pieces;
mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{EmbedError, OpenError, Purpose};
use crate::domain::{Embedding, Space};
use model::Model;
use queue::{Job, Queue};

/// Texts in one run of the model: enough to use the caches well, few enough that a query never waits long behind them.
const BATCH: usize = 8;

/// Model and its threads. The threads end when it is dropped.
#[derive(Debug)]
pub(super) struct Local {
    queue: Arc<Queue>,
    sketches: bool,
}

// === impl Local ===

impl Local {
    /// Reads the model, and starts its threads.
    pub(super) fn open(space: &Space, folder: &Path, threads: usize) -> Result<Local, OpenError> {
        let model = Arc::new(Model::open(space, folder)?);
        let local = Local { queue: Arc::new(Queue::default()), sketches: model.sketches() };
        for number in 0..threads.max(1) {
            let (queue, model) = (local.queue.clone(), model.clone());
            let thread = std::thread::Builder::new().name(format!("embed-{number}"));
            thread.spawn(move || work(&queue, &model)).map_err(|error| OpenError::Thread(error.to_string()))?;
        }
        Ok(local)
    }

    pub(super) fn sketches(&self) -> bool {
        self.sketches
    }

    pub(super) async fn embed(
        &self,
        purpose: Purpose,
        prefix: &str,
        texts: &[String],
        limit: Duration,
    ) -> Result<Vec<Embedding>, EmbedError> {
        let until = Instant::now() + limit;
        let (mut jobs, mut replies) = (Vec::new(), Vec::new());
        for texts in texts.chunks(BATCH) {
            let texts = texts.iter().map(|text| format!("{prefix}{text}")).collect();
            let (reply, received) = oneshot::channel();
            jobs.push(Job { texts, prefix: prefix.len(), until, reply });
            replies.push(async move { received.await.unwrap_or_else(|_| Err(EmbedError::Deadline(limit))) });
        }
        self.queue.push(purpose, jobs)?;
        let embeddings = timeout_at(until, try_join_all(replies)).await;
        embeddings
            .map_err(|_| EmbedError::Deadline(limit))?
            .map(|embeddings| embeddings.into_iter().flatten().collect())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Body of a thread. Parallel loops of the model stay on the thread: several texts at once gain more than one text on
/// several threads.
fn work(queue: &Queue, model: &Model) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
    if let Err(error) = &pool {
        tracing::warn!(%error, "the model shares the threads of other work");
    }
    while let Some(jobs) = queue.take(BATCH) {
        for (job, embeddings) in run(jobs, model) {
            // Nobody may wait any more.
            let _ = job.send(embeddings);
        }
    }
}

type Reply = oneshot::Sender<Result<Vec<Embedding>, EmbedError>>;

/// Embeds the texts of `jobs` together.
fn run(jobs: Vec<Job>, model: &Model) -> Vec<(Reply, Result<Vec<Embedding>, EmbedError>)> {
    let texts: Vec<_> = jobs.iter().flat_map(|job| job.texts.iter().map(|text| (text.as_str(), job.prefix))).collect();
    // The model is never changed, so a panic leaves it whole.
    let embedded = catch_unwind(AssertUnwindSafe(|| model.embed(&texts)));
    let embedded = embedded.unwrap_or_else(|_| Err(EmbedError::Failed("it panicked".to_owned())));
    let mut embedded = embedded.map(Vec::into_iter);
    let part = |job: Job| {
        let part = match &mut embedded {
            Ok(embeddings) => Ok(embeddings.by_ref().take(job.texts.len()).collect()),
            Err(error) => Err(error.clone()),
        };
        (job.reply, part)
    };
    jobs.into_iter().map(part).collect()
}
