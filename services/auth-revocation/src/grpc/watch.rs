//! Open watches: a snapshot of the feed, and then what memory applies.
//!
//! Between the two nothing is missed: a watch listens to memory first, and reads the feed then. What memory applies while
//! the feed is read comes twice at most, and the numbers of a partition are dense, so both a repetition and a gap are seen.

mod feed;
mod place;

use std::time::Duration;

use keyplane_contracts::Violation;
use keyplane_revocation::{Rules, Sequence};
use keyplane_server::{Drain, WatchCap};
use tokio::time::{Instant, sleep_until, timeout};

use self::feed::{Feed, Listening};
use self::place::{Place, Token};
use crate::error::Error;
use crate::replica::Mirror;

/// How long a watch waits for an instance that has just started, or reconciles its memory with the store.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(20);

/// The watches of this instance.
#[derive(Debug)]
pub(crate) struct Watches {
    cap: WatchCap,
    mirror: Mirror,
    rules: Rules,
    drain: Drain,
}

// === impl Watches ===

impl Watches {
    /// At most `limit` watches of what `mirror` follows, until `drain` starts.
    pub(crate) fn new(limit: usize, mirror: Mirror, rules: Rules, drain: Drain) -> Watches {
        Watches { cap: WatchCap::new(limit), mirror, rules, drain }
    }

    /// Opens a watch and reads its first page, so that a failure at the start is the status of the call.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyWatches`]; [`Error::Starting`] if this instance does not know the feed itself;
    /// [`Error::Invalid`] if the token is none, or another tenant's; the store's.
    pub(super) async fn open(&self, tenant: Option<&str>, resume_token: &str) -> Result<Feed, Error> {
        let permit = self.cap.acquire().map_err(|full| Error::TooManyWatches { limit: full.limit })?;
        let token = match resume_token {
            "" => None,
            text => Some(Token::parse(text, tenant).ok_or_else(|| {
                let rule = "must be the `resume_token` of a Watch of the same parent";
                Error::Invalid(vec![Violation::new("resume_token", rule)])
            })?),
        };
        let mut ready = self.mirror.ready();
        let caught_up = timeout(PATIENCE, ready.wait_for(|ready| *ready)).await;
        caught_up.map_err(|_| Error::Starting)?.map_err(|_| Error::ShuttingDown)?;
        // The epoch first, then memory, then its doubts, then the feed: whatever changes later, one of them tells.
        let listening = Listening::to(self.mirror.clone());
        let begun = self.undoubted().await?;

        let count = begun.partitions();
        let (places, whole) = match token {
            Some(token) if place::can_be_followed(&self.mirror, &token.places, count).await? => {
                (token.places, token.whole)
            }
            Some(_) | None => (vec![Place::default(); count as usize], false),
        };
        let tenant = tenant.map(Into::into);
        let mut feed = Feed::new(listening, begun, tenant, places, whole, &self.rules, self.drain.clone(), permit);
        feed.read_page().await?;
        Ok(feed)
    }

    /// What memory holds, once it is not in doubt.
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
