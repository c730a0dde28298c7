//! Reads of the store: a whole lexicon, or the entries of its log since the last read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;

use super::{Id, Shared, Slot};
use crate::domain::lexicon::{Lexicon, LogId};
use crate::error::Error;
use crate::store::LogRead;

/// Longest refresh.
const LIMIT: Duration = Duration::from_secs(60);
/// Changes that are applied at once: some 0.1 ms.
const INLINE: usize = 2_000;
/// Loads in one refresh, if the log outruns them.
const MAX_LOADS: usize = 3;

/// Brings a slot up to the end of its log, and returns its lexicon. `_turn` keeps others from doing so at the same time.
pub(super) async fn refresh(
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    _turn: OwnedMutexGuard<()>,
) -> Result<Arc<Lexicon>, Error> {
    let deadline = tokio::time::Instant::now() + LIMIT;
    let read = Instant::now();
    let current = slot.current.load_full();
    let lexicon = keyplane_deadline::scope(deadline, async {
        let followed = match current {
            Some(current) => shared.follow(&slot.id, Arc::clone(&current.lexicon)).await?,
            None => None,
        };
        match followed {
            Some(lexicon) => Ok(lexicon),
            None => shared.load(&slot.id).await,
        }
    });
    let lexicon = Box::pin(lexicon).await?;
    shared.install(&slot, Arc::clone(&lexicon), read);
    if lexicon.is_heavy()
        && let Ok(turn) = Arc::clone(&slot.merging).try_lock_owned()
    {
        tokio::spawn(merge(shared, Arc::clone(&slot), Arc::clone(&lexicon), turn));
    }
    Ok(lexicon)
}

/// Merges the overlay of `before` into its transducer, and what changed meanwhile on top of it. Searches go on with the old one.
async fn merge(shared: Arc<Shared>, slot: Arc<Slot>, before: Arc<Lexicon>, _turn: OwnedMutexGuard<()>) {
    let source = Arc::clone(&before);
    let merged = blocking(move || source.merged()).await;
    let _turn = slot.refreshing.lock().await;
    let Some(current) = slot.current.load_full() else { return };
    let (lexicon, read) = (Arc::clone(&current.lexicon), current.read);
    if let Some(lexicon) = blocking(move || lexicon.over(&merged, &before)).await {
        shared.metrics.merged();
        shared.install(&slot, Arc::new(lexicon), read);
    }
}

// === impl Shared ===

impl Shared {
    /// Reads all terms.
    ///
    /// The log's last id is read before the terms. Its later entries hold frequencies and not differences, so those that a read
    /// term includes already do no harm.
    async fn load(&self, id: &Id) -> Result<Arc<Lexicon>, Error> {
        for _ in 0..MAX_LOADS {
            let version = self.store.lexicon_head(&id.collection, id.generation).await?;
            let terms = self.terms(id).await?;
            let lexicon = blocking(move || Lexicon::build(terms, version)).await;
            if let Some(lexicon) = self.follow(id, Arc::new(lexicon)).await? {
                self.metrics.loaded();
                return Ok(lexicon);
            }
        }
        Err(Error::IndexNotReady { collection: id.collection.collection.clone() })
    }

    /// All terms with their frequencies; a term that moved during the read may appear twice.
    async fn terms(&self, id: &Id) -> Result<Vec<(String, u32)>, Error> {
        let (mut terms, mut cursor) = (Vec::new(), 0);
        loop {
            let page = self.store.lexicon_terms(&id.collection, id.generation, cursor).await?;
            terms.extend(page.terms);
            cursor = page.next;
            if cursor == 0 {
                return Ok(terms);
            }
        }
    }

    /// Applies the log's entries since the lexicon's version; none if some are no longer there.
    async fn follow(&self, id: &Id, mut lexicon: Arc<Lexicon>) -> Result<Option<Arc<Lexicon>>, Error> {
        loop {
            let read = self.store.lexicon_log(&id.collection, id.generation, lexicon.version()).await?;
            let LogRead::Changes { changes, version, more } = read else { return Ok(None) };
            if version > lexicon.version() {
                lexicon = Arc::new(apply(lexicon, changes, version).await);
            }
            if !more {
                return Ok(Some(lexicon));
            }
        }
    }
}

/// Applies changes; many are applied on a thread that may block.
async fn apply(lexicon: Arc<Lexicon>, changes: Vec<(String, u32)>, version: LogId) -> Lexicon {
    let inline = lexicon.changes() + changes.len() <= INLINE;
    let work = move || lexicon.changed(changes.iter().map(|(term, frequency)| (term.as_str(), *frequency)), version);
    if inline { work() } else { blocking(work).await }
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
