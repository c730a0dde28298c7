//! Queue of texts for the model's threads: bounded, queries first.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::{EmbedError, Purpose};
use crate::domain::Embedding;

/// Most texts that may wait: 16 calls of 256.
const ROOM: usize = 4096;

/// Texts that one thread embeds in one go.
#[derive(Debug)]
pub(super) struct Job {
    /// Texts, each with its prefix.
    pub(super) texts: Vec<String>,
    /// Length of the prefix in bytes.
    pub(super) prefix: usize,
    /// Moment after which nobody waits.
    pub(super) until: Instant,
    /// Caller.
    pub(super) reply: oneshot::Sender<Result<Vec<Embedding>, EmbedError>>,
}

/// Queue between callers and threads.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    queries: VecDeque<Job>,
    passages: VecDeque<Job>,
    texts: usize,
    closed: bool,
}

// === impl Job ===

impl Job {
    fn abandoned(&self) -> bool {
        self.reply.is_closed() || self.until <= Instant::now()
    }
}

// === impl Queue ===

impl Queue {
    /// Appends `jobs`, all or none.
    ///
    /// # Errors
    ///
    /// [`EmbedError::Busy`] if they do not fit.
    pub(super) fn push(&self, purpose: Purpose, jobs: Vec<Job>) -> Result<(), EmbedError> {
        let texts: usize = jobs.iter().map(|job| job.texts.len()).sum();
        let mut waiting = self.waiting.lock();
        if waiting.texts + texts > ROOM {
            return Err(EmbedError::Busy { waiting: waiting.texts, room: ROOM });
        }
        waiting.texts += texts;
        waiting.lane(purpose).extend(jobs);
        drop(waiting);
        self.ready.notify_all();
        Ok(())
    }

    /// Waits for work: jobs of at most `most` texts together, or one job. None once the queue is closed.
    pub(super) fn take(&self, most: usize) -> Option<Vec<Job>> {
        let mut waiting = self.waiting.lock();
        loop {
            if waiting.closed {
                return None;
            }
            let jobs = waiting.next(most);
            if !jobs.is_empty() {
                return Some(jobs);
            }
            self.ready.wait(&mut waiting);
        }
    }

    /// Ends the threads that take.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.ready.notify_all();
    }
}

// === impl Waiting ===

impl Waiting {
    fn lane(&mut self, purpose: Purpose) -> &mut VecDeque<Job> {
        match purpose {
            Purpose::Query => &mut self.queries,
            Purpose::Passage => &mut self.passages,
        }
    }

    /// Removes the next jobs of a lane, and the abandoned ones before them.
    fn next(&mut self, most: usize) -> Vec<Job> {
        for purpose in [Purpose::Query, Purpose::Passage] {
            let (mut jobs, mut texts) = (Vec::new(), 0);
            while let Some(job) = self.lane(purpose).pop_front() {
                let size = job.texts.len();
                if job.abandoned() {
                    self.texts -= size;
                } else if texts == 0 || texts + size <= most {
                    (self.texts, texts) = (self.texts - size, texts + size);
                    jobs.push(job);
                } else {
                    self.lane(purpose).push_front(job);
                    break;
                }
            }
            if !jobs.is_empty() {
                return jobs;
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Reply = oneshot::Receiver<Result<Vec<Embedding>, EmbedError>>;

    fn job(texts: usize, wait: Duration) -> (Job, Reply) {
        let (reply, received) = oneshot::channel();
        let texts = vec!["text".to_owned(); texts];
        (Job { texts, prefix: 0, until: Instant::now() + wait, reply }, received)
    }

    #[test]
    fn queries_go_first_and_jobs_share_a_batch() {
        let (queue, wait) = (Queue::default(), Duration::from_secs(60));
        let ((passage, _a), (next, _b), (large, _c)) = (job(3, wait), job(3, wait), job(8, wait));
        queue.push(Purpose::Passage, vec![passage, next, large]).unwrap();
        let (query, _d) = job(1, wait);
        queue.push(Purpose::Query, vec![query]).unwrap();
        let sizes = |jobs: Option<Vec<Job>>| jobs.unwrap().iter().map(|job| job.texts.len()).collect::<Vec<_>>();
        assert_eq!(sizes(queue.take(8)), [1]);
        assert_eq!(sizes(queue.take(8)), [3, 3]);
        assert_eq!(sizes(queue.take(4)), [8], "a large job is a batch of its own");
    }

    #[test]
    fn full_queue_rejects_and_abandoned_jobs_free_their_room() {
        let queue = Queue::default();
        let (late, _late) = job(ROOM - 1, Duration::ZERO);
        queue.push(Purpose::Passage, vec![late]).unwrap();
        let (two, _two) = job(2, Duration::from_secs(60));
        assert_eq!(queue.push(Purpose::Query, vec![two]), Err(EmbedError::Busy { waiting: ROOM - 1, room: ROOM }));
        let (dropped, reply) = job(1, Duration::from_secs(60));
        drop(reply);
        queue.push(Purpose::Passage, vec![dropped]).unwrap();
        assert!(queue.waiting.lock().next(8).is_empty());
        let (all, _all) = job(ROOM, Duration::from_secs(60));
        queue.push(Purpose::Passage, vec![all]).unwrap();
    }

    #[test]
    fn closed_queue_ends_its_threads() {
        let queue = Queue::default();
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| queue.take(8));
            queue.close();
            assert!(taken.join().unwrap().is_none());
        });
    }
}
