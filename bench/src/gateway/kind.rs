//! Requests to the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use tokio::time::sleep;

use crate::closed;
use crate::load::{self, Made, TENANT};

/// Kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Patch,
    Get,
    List,
    Touch,
    Delete,
    /// Requests of a session's life.
    Mix,
    /// Mix as fast as it gets.
    Full,
}

/// Caller of one gateway.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) http: Client,
    /// Gateway.
    pub(super) url: String,
    pub(super) tokens: Arc<[String]>,
    pub(super) sessions: Arc<[Made]>,
    /// Sessions to delete.
    pub(super) doomed: Arc<[Made]>,
    /// Makes each path new: a patch that changes nothing has less to do.
    pub(super) paths: Arc<AtomicU64>,
    /// Repeats a request that is unavailable for now, as happens on a busy machine.
    pub(super) patient: bool,
}

/// Life: three of eight requests have a body.
const LIFE: [Kind; 8] =
    [Kind::Create, Kind::Get, Kind::Patch, Kind::List, Kind::Touch, Kind::Patch, Kind::Get, Kind::Delete];
/// Users who log in: so few that each has ten sessions already but for the first turns, and each login evicts one.
const LOGINS: usize = 100;
/// Longest time for attempts, and the pause between two.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

// === impl Kind ===

impl Kind {
    /// Kinds in the order of the report.
    pub(super) const ALL: [Kind; 8] =
        [Kind::Create, Kind::Patch, Kind::Get, Kind::List, Kind::Touch, Kind::Delete, Kind::Mix, Kind::Full];

    /// Reports whether its requests have a body; `None` if some have.
    pub(super) fn has_body(self) -> Option<bool> {
        match self {
            Kind::Create | Kind::Patch => Some(true),
            Kind::Get | Kind::List | Kind::Touch | Kind::Delete => Some(false),
            Kind::Mix | Kind::Full => None,
        }
    }

    /// Share of its requests that delete.
    pub(super) fn deletes(self) -> f64 {
        match self {
            Kind::Delete => 1.0,
            Kind::Mix | Kind::Full => 1.0 / LIFE.len() as f64,
            Kind::Create | Kind::Patch | Kind::Get | Kind::List | Kind::Touch => 0.0,
        }
    }

    /// Kind of a turn's request `number`, and its number among those of its kind.
    fn pick(self, number: usize) -> (Kind, usize) {
        match self {
            Kind::Mix | Kind::Full => (LIFE[number % LIFE.len()], number / LIFE.len()),
            Kind::Create | Kind::Patch | Kind::Get | Kind::List | Kind::Touch | Kind::Delete => (self, number),
        }
    }
}

impl closed::Row for Kind {
    fn label(self) -> &'static str {
        match self {
            Kind::Create => "create: POST",
            Kind::Patch => "patch: PATCH",
            Kind::Get => "get: GET",
            Kind::List => "list: GET",
            Kind::Touch => "touch: POST, no body",
            Kind::Delete => "delete: DELETE",
            Kind::Mix => "mix",
            Kind::Full => "mix, full load",
        }
    }

    fn limit(self) -> Option<Kind> {
        None
    }
}

// === impl Caller ===

impl Caller {
    fn request(&self, kind: Kind, number: usize) -> Result<RequestBuilder, String> {
        let name = || &self.sessions[number % self.sessions.len()].name;
        let parent = |user: String| format!("tenants/{TENANT}/users/{user}/sessions");
        let (method, path, body) = match kind {
            Kind::Create => (Method::POST, parent(format!("login-{}", number % LOGINS)), Some(load::sample_json())),
            Kind::Patch => {
                let path = self.paths.fetch_add(1, Ordering::Relaxed);
                let body = format!(r#"{{"lastPath":"/tasks/{path}"}}"#);
                (Method::PATCH, format!("{}?updateMask=lastPath", name()), Some(body))
            }
            Kind::Get => (Method::GET, name().clone(), None),
            Kind::List => {
                let user = self.sessions[number % self.sessions.len()].place().user.to_owned();
                (Method::GET, parent(user), None)
            }
            Kind::Touch => (Method::POST, format!("{}:touch", name()), None),
            Kind::Delete => {
                let doomed = self.doomed.get(number).ok_or("no session is left to delete")?;
                (Method::DELETE, doomed.name.clone(), None)
            }
            Kind::Mix | Kind::Full => return Err("a mix is no request".to_owned()),
        };
        let request = self.http.request(method, format!("{}/v1/{path}", self.url));
        Ok(match body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body),
            None => request,
        })
    }
}

impl closed::Caller for Caller {
    type Row = Kind;

    async fn call(&mut self, kind: Kind, _worker: usize, number: usize) -> Result<u64, String> {
        let (kind, of_kind) = kind.pick(number);
        let (start, mut repeated) = (Instant::now(), false);
        loop {
            let request = self.request(kind, of_kind)?.bearer_auth(&self.tokens[number % self.tokens.len()]);
            let reply = request.send().await.map_err(|error| format!("{kind:?}: {error}"))?;
            let status = reply.status();
            let text = reply.text().await.map_err(|error| format!("{kind:?}: {error}"))?;
            // A missing session was deleted by the first attempt.
            if status.is_success() || repeated && status == StatusCode::NOT_FOUND {
                return Ok(text.len() as u64);
            }
            let for_now = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT);
            if !self.patient || !for_now || start.elapsed() > PATIENCE {
                return Err(format!("{kind:?}: {status}: {text}"));
            }
            repeated = true;
            sleep(PAUSE).await;
        }
    }
}
