//! Open watches: how many there are, and that they end when the service stops.

use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use keyplane_contracts::names::UserName;
use keyplane_contracts::session::v1 as pb;
use keyplane_server::{Drain, WatchCap, WatchPermit, status};
use tonic::Status;

use super::convert::{self, Watch};
use crate::domain::Event;
use crate::error::Error;
use crate::store::{Store, Watcher};

/// The watches of this instance.
#[derive(Debug)]
pub(crate) struct Watches {
    cap: WatchCap,
    heartbeat: Duration,
    drain: Drain,
}

/// An open watch. It has begun, so that a failure at the start was the status of the call.
pub(super) struct Events {
    pub(super) user: UserName,
    pub(super) heartbeat: Duration,
    watcher: Watcher,
    drain: Drain,
    _permit: WatchPermit,
}

// === impl Watches ===

impl Watches {
    /// At most `limit` watches, until `drain` starts; `heartbeat` is the silence that browsers' watches bear.
    pub(crate) fn new(limit: usize, heartbeat: Duration, drain: Drain) -> Watches {
        Watches { cap: WatchCap::new(limit), heartbeat, drain }
    }

    /// Opens a watch and checks that it can begin.
    pub(super) async fn open(&self, store: &Store, watch: Watch) -> Result<Events, Error> {
        let permit = self.cap.acquire().map_err(|full| Error::TooManyWatches { limit: full.limit })?;
        let Watch { user, scope, after } = watch;
        let mut watcher = store.watch(user.clone(), scope, after);
        watcher.begin().await?;
        Ok(Events { user, heartbeat: self.heartbeat, watcher, drain: self.drain.clone(), _permit: permit })
    }
}

// === impl Events ===

impl Events {
    /// The next event; `None` at the end. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<Event, Error>> {
        tokio::select! {
            biased;
            () = self.drain.started() => Some(Err(Error::ShuttingDown)),
            event = self.watcher.next() => event,
        }
    }

    /// The events as messages; an error is the stream's last item.
    pub(super) fn typed(self) -> impl Stream<Item = Result<pb::SessionEvent, Status>> + Send {
        unfold(Some(self), |events| async {
            let mut events = events?;
            match events.next().await? {
                Ok(event) => Some((Ok(convert::event(&events.user, event)), Some(events))),
                Err(error) => Some((Err(status(error)), None)),
            }
        })
    }
}
