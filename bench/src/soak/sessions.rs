//! Users who log in, move about and log out, and read back what they wrote.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyplane_client::Channel;
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use prost_types::FieldMask;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::book::Book;
use super::clock::Mark;
use super::fleet::{Fleet, Instance};
use super::ledger::Invariant;
use super::model::session::{Known, parent};
use super::outcome::{Failure, Kind, Made};
use super::watches::Board;
use crate::load;
use crate::serve::Service;

/// Users of the run. A user has one call in flight, so that its reads are known exactly.
pub(super) struct Sessions {
    book: Arc<Book>,
    fleet: Arc<Fleet>,
    users: Vec<Arc<Mutex<User>>>,
    boards: Vec<Arc<Board>>,
    numbers: AtomicU64,
}

/// Wish of a user.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// Logs in, or out with many sessions.
    Come,
    Read,
    Move,
    List,
}

/// Knowledge of a user.
struct User {
    number: usize,
    /// Start of that knowledge.
    since: Mark,
    sessions: Vec<Known>,
    /// Names of sessions that ended; they must stay so.
    ended: VecDeque<String>,
    /// Unknown sessions may exist.
    unclean: bool,
    /// Login, and a logout, with an unknown outcome: to be repeated.
    creating: Option<String>,
    deleting: Option<String>,
}

/// Users; the first of them are watched.
pub(super) const USERS: usize = 30;
pub(super) const WATCHED: usize = 12;
/// Sessions of one user, at most; fewer than the service allows, so that none is evicted.
const SESSIONS: usize = 3;
const REMEMBERED: usize = 5;

// === impl Sessions ===

impl Sessions {
    pub(super) fn new(book: Arc<Book>, fleet: Arc<Fleet>, boards: Vec<Arc<Board>>) -> Sessions {
        let since = book.clock.mark();
        let users = (0..USERS).map(|number| Arc::new(Mutex::new(User::new(number, since)))).collect();
        Sessions { book, fleet, users, boards, numbers: AtomicU64::new(0) }
    }

    pub(super) fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.fleet)
    }

    /// Does something for a user who is not busy: first what is in doubt. `dice`: any number.
    pub(super) async fn act(&self, wish: Wish, dice: u64) {
        let Some(mut user) = self.idle_user(dice) else { return };
        if !self.book.clock.kept_since(user.since) {
            *user = User::after_loss(user.number, self.book.clock.mark());
        }
        let instance = self.fleet.pick(Service::Session, dice >> 8);
        let which = (dice >> 16) as usize;
        if user.unclean {
            self.clean(&mut user, instance).await;
        } else if user.deleting.is_some() {
            self.delete(&mut user, instance).await;
        } else if user.creating.is_some() || user.sessions.is_empty() {
            self.create(&mut user, instance).await;
        } else {
            match wish {
                Wish::Come if user.sessions.len() < SESSIONS => self.create(&mut user, instance).await,
                Wish::Come => self.delete(&mut user, instance).await,
                Wish::Move => self.patch(&mut user, which, instance).await,
                Wish::List => self.list(&mut user, instance).await,
                Wish::Read if which.is_multiple_of(16) => self.read_ended(&mut user, instance).await,
                Wish::Read => self.get(&mut user, which, instance).await,
            }
        }
    }

    fn idle_user(&self, dice: u64) -> Option<OwnedMutexGuard<User>> {
        let users = (0..USERS).map(|offset| &self.users[(dice as usize).wrapping_add(offset) % USERS]);
        users.take(8).find_map(|user| Arc::clone(user).try_lock_owned().ok())
    }

    /// Ends all sessions: some may have been made while the store was losing data.
    async fn clean(&self, user: &mut User, instance: &Instance) {
        let request = pb::RevokeAllSessionsRequest { parent: user.parent(), ..pb::RevokeAllSessionsRequest::default() };
        let made = self.book.call(Kind::Delete, instance, client(instance).revoke_all_sessions(request)).await;
        if let Some(Ok(_)) = self.valid(user, made) {
            user.unclean = false;
        }
    }

    async fn create(&self, user: &mut User, instance: &Instance) {
        let number = || format!("login-{}", self.numbers.fetch_add(1, Ordering::Relaxed));
        let request_id = user.creating.take().unwrap_or_else(number);
        let request = pb::CreateSessionRequest { request_id: request_id.clone(), ..load::creation(&user.name()) };
        let made = self.book.call(Kind::Create, instance, client(instance).create_session(request)).await;
        let Some(result) = self.valid(user, made) else { return };
        match result {
            Ok(session) => match Known::created(session.name, session.version, session.last_path.unwrap_or_default()) {
                Ok(known) => {
                    self.note_change(user, &known.name, known.version);
                    let again = user.sessions.iter().any(|other| other.name == known.name);
                    let text = || format!("{} was made twice, for two logins", known.name);
                    self.book.hold(Invariant::Sessions, || again.then(text));
                    user.sessions.push(known);
                }
                Err(text) => self.book.check(Invariant::Sessions, Err(text)),
            },
            Err(_) => user.creating = Some(request_id),
        }
    }

    async fn delete(&self, user: &mut User, instance: &Instance) {
        let in_doubt = user.deleting.take();
        let repeated = in_doubt.is_some();
        let Some(name) = in_doubt.or_else(|| user.take_oldest()) else { return };
        let request = pb::DeleteSessionRequest { name: name.clone(), allow_missing: repeated, revoke_tokens: false };
        let made = self.book.call(Kind::Delete, instance, client(instance).delete_session(request)).await;
        let Some(result) = self.valid(user, made) else { return };
        match result {
            Ok(()) => user.end(name),
            Err(failure) if failure.is("SESSION_NOT_FOUND") => self.lost(&name, &failure),
            Err(_) => user.deleting = Some(name),
        }
    }

    async fn patch(&self, user: &mut User, which: usize, instance: &Instance) {
        let path = format!("/tasks/{}", self.numbers.fetch_add(1, Ordering::Relaxed));
        let known = user.session(which);
        let name = known.name.clone();
        let next = known.version + 1;
        let request = update(&name, path.clone(), known.version);
        if let Some(board) = self.boards.get(user.number) {
            board.begin(&name, next, self.book.clock.mark());
        }
        let made = self.book.call(Kind::Patch, instance, client(instance).update_session(request)).await;
        let Some(result) = self.valid(user, made) else { return };
        let known = user.session(which);
        let outcome = match result {
            Ok(session) => known.written(&path, session.version, session.last_path()),
            Err(failure) if failure.is("STALE_WRITE") => known.mismatch(),
            Err(failure) if failure.is("SESSION_NOT_FOUND") => {
                user.forget(&name);
                return self.lost(&name, &failure);
            }
            Err(failure) => {
                if failure.unknown {
                    known.doubt(path);
                }
                return;
            }
        };
        let version = known.version;
        self.note_change(user, &name, version);
        self.settle(user, &name, outcome);
    }

    async fn get(&self, user: &mut User, which: usize, instance: &Instance) {
        let name = user.session(which).name.clone();
        let request = pb::GetSessionRequest { name: name.clone() };
        let made = self.book.call(Kind::Get, instance, client(instance).get_session(request)).await;
        let Some(result) = self.valid(user, made) else { return };
        match result {
            Ok(session) => {
                let outcome = user.session(which).read(session.version, session.last_path());
                self.settle(user, &name, outcome);
            }
            Err(failure) if failure.is("SESSION_NOT_FOUND") => {
                user.forget(&name);
                self.lost(&name, &failure);
            }
            Err(_) => {}
        }
    }

    async fn list(&self, user: &mut User, instance: &Instance) {
        let request = pb::ListSessionsRequest { parent: user.parent(), ..pb::ListSessionsRequest::default() };
        let made = self.book.call(Kind::List, instance, client(instance).list_sessions(request)).await;
        let Some(Ok(page)) = self.valid(user, made) else { return };
        let mut listed: Vec<_> = page.sessions.into_iter().map(|session| session.name).collect();
        let mut known: Vec<_> = user.sessions.iter().map(|known| known.name.clone()).collect();
        listed.sort();
        known.sort();
        let text = || format!("{} has {known:?}, and ListSessions has {listed:?}", user.parent());
        self.book.hold(Invariant::Sessions, || (listed != known).then(text));
    }

    async fn read_ended(&self, user: &mut User, instance: &Instance) {
        let Some(name) = user.ended.front().cloned() else { return };
        let request = pb::GetSessionRequest { name: name.clone() };
        let made = self.book.call(Kind::Get, instance, client(instance).get_session(request)).await;
        let Some(result) = self.valid(user, made) else { return };
        let back = result.is_ok();
        self.book.hold(Invariant::Sessions, || back.then(|| format!("{name} was deleted, and is read")));
    }

    /// Result, unless the store lost data in the meantime: then nothing is known any more.
    fn valid<T>(&self, user: &mut User, made: Made<T>) -> Option<Result<T, Failure>> {
        if self.book.clock.kept_since(made.begin) && self.book.clock.kept_since(user.since) {
            return Some(made.result);
        }
        *user = User::after_loss(user.number, self.book.clock.mark());
        None
    }

    /// Takes the session as it was read after a violation, so that it is reported once.
    fn settle(&self, user: &mut User, name: &str, outcome: Result<(), String>) {
        if outcome.is_err() {
            user.forget(name);
            // Its other sessions are listed without it.
            user.deleting = Some(name.to_owned());
        }
        self.book.check(Invariant::Sessions, outcome);
    }

    fn lost(&self, name: &str, failure: &Failure) {
        self.book.check(Invariant::Sessions, Err(format!("{name} is missing: {}", failure.text())));
    }

    fn note_change(&self, user: &User, name: &str, version: i32) {
        if let Some(board) = self.boards.get(user.number) {
            board.acknowledge(name, version);
        }
    }
}

fn client(instance: &Instance) -> SessionServiceClient<Channel> {
    SessionServiceClient::new(instance.channel.clone())
}

/// Route change, based on a version.
fn update(name: &str, last_path: String, version: i32) -> pb::UpdateSessionRequest {
    let session = pb::Session { name: name.to_owned(), last_path: Some(last_path), ..pb::Session::default() };
    let update_mask = Some(FieldMask { paths: vec!["last_path".to_owned()] });
    pb::UpdateSessionRequest { session: Some(session), update_mask, version, ..pb::UpdateSessionRequest::default() }
}

// === impl User ===

impl User {
    fn new(number: usize, since: Mark) -> User {
        User {
            number,
            since,
            sessions: Vec::new(),
            ended: VecDeque::new(),
            unclean: false,
            creating: None,
            deleting: None,
        }
    }

    fn after_loss(number: usize, since: Mark) -> User {
        User { unclean: true, ..User::new(number, since) }
    }

    fn name(&self) -> String {
        format!("soak-{}", self.number)
    }

    fn parent(&self) -> String {
        parent(self.number)
    }

    /// Picks one of the sessions, at least one, by any number.
    fn session(&mut self, which: usize) -> &mut Known {
        let count = self.sessions.len();
        &mut self.sessions[which % count]
    }

    fn take_oldest(&mut self) -> Option<String> {
        (!self.sessions.is_empty()).then(|| self.sessions.remove(0).name)
    }

    fn forget(&mut self, name: &str) {
        self.sessions.retain(|known| known.name != name);
    }

    fn end(&mut self, name: String) {
        self.ended.push_front(name);
        self.ended.truncate(REMEMBERED);
    }
}
