//! Watches: a snapshot of the feed, and then the entries that memory applies.
//!
//! Nothing is missed between the two: a watch subscribes to memory first, and reads the feed then. Entries that memory
//! applies meanwhile come twice at most. The numbers of a partition are dense, so that both a repetition and a gap
//! show.

mod resume;
mod stream;

use std::collections::VecDeque;
use std::time::Duration;

use keyplane_contracts::Violation;
use keyplane_revocation::{Rules, Sequence};
use keyplane_server::{Drain, WatchCap};
use tokio::time::{Instant, sleep_until, timeout};

use self::resume::{ResumePoint, ResumeToken};
use self::stream::{HEARTBEAT, Subscription};
use super::replica::Mirror;
use crate::error::Error;
use crate::store::Store;

pub(crate) use self::stream::{Update, Watch};

/// Longest wait for an instance that has just started, or reconciles its memory with the store.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(20);

/// Watches of this instance.
pub(crate) struct Watches {
    cap: WatchCap,
    store: Store,
    mirror: Mirror,
    rules: Rules,
    drain: Drain,
}

// === impl Watches ===

impl Watches {
    /// Admits at most `limit` watches of the feed in `store`, which `mirror` follows, until `drain` starts.
    pub(crate) fn new(limit: usize, store: Store, mirror: Mirror, rules: Rules, drain: Drain) -> Watches {
        Watches { cap: WatchCap::new(limit), store, mirror, rules, drain }
    }

    /// Opens a watch of `tenant`, or of all tenants, and reads its first page, so that a failure at the start is the
    /// status of the call.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyWatches`]; [`Error::Starting`] if this instance does not know the feed itself;
    /// [`Error::Invalid`] if the resume token is malformed, or another tenant's; [`Error::Store`]. Cancel safe.
    pub(crate) async fn open(&self, tenant: Option<&str>, resume_token: &str) -> Result<Watch, Error> {
        let permit = self.cap.acquire()?;
        let token = match resume_token {
            "" => None,
            text => Some(ResumeToken::parse(text, tenant).ok_or_else(|| {
                let rule = "must be the `resume_token` of a Watch of the same parent";
                Error::Invalid(vec![Violation::new("resume_token", rule)])
            })?),
        };
        let mut ready = self.mirror.ready();
        let caught_up = timeout(PATIENCE, ready.wait_for(|ready| *ready)).await;
        caught_up.map_err(|_| Error::Starting)?.map_err(|_| Error::ShuttingDown)?;
        // The epoch first, then memory, then its doubts, then the feed: a later change shows in one of them.
        let subscription = Subscription::to(&self.mirror);
        let begun = self.undoubted().await?;

        let count = begun.partitions();
        let (points, complete) = match token {
            Some(token) if resume::can_be_followed(&self.store, &token.points, count).await? => {
                (token.points, token.complete)
            }
            Some(_) | None => (vec![ResumePoint::default(); count as usize], false),
        };
        let now = Instant::now();
        let mut watch = Watch {
            store: self.store.clone(),
            tenant: tenant.map(Into::into),
            subscription,
            begun,
            points,
            reading: 0,
            complete,
            ready: VecDeque::new(),
            entries: Vec::new(),
            due: now + HEARTBEAT,
            sent_at: now,
            rules: Some(self.rules),
            drain: self.drain.clone(),
            _permit: permit,
        };
        watch.read_page().await?;
        Ok(watch)
    }

    /// Sequence of memory, once memory is not in doubt.
    async fn undoubted(&self) -> Result<Sequence, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let head = self.mirror.head();
            if head.age.is_some() {
                return Sequence::parse(&head.sequence).map_err(|_| Error::Corrupt("the mirror's own sequence"));
            }
            if Instant::now() > deadline {
                return Err(Error::Starting);
            }
            tokio::select! {
                () = self.drain.started() => return Err(Error::ShuttingDown),
                () = sleep_until(Instant::now() + LOOK) => {}
            }
        }
    }
}
