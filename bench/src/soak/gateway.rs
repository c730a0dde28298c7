//! Front door: JSON through a real Envoy with the shipped configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyplane_contracts::revocation::v1::RevokeTokenRequest;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_engine::{Envoy, Toolbox, free_port};
use keyplane_gateway::InProcessGuard;
use keyplane_local::{Gateway, Grant, Issuer};
use parking_lot::RwLock;
use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::sleep;
use tonic::Code;

use super::book::{Book, Span};
use super::clock::Mark;
use super::fleet::{Fleet, Instance};
use super::ledger::Invariant;
use super::model::token::{self, BOUND, Promise};
use super::outcome::{Failure, Kind, NONE};
use crate::Error;
use crate::load::TENANT;
use crate::serve::Service;

/// Gateway, and those who call through it.
pub(super) struct Front {
    book: Arc<Book>,
    fleet: Arc<Fleet>,
    _envoy: Envoy,
    _guard: InProcessGuard,
    url: String,
    http: reqwest::Client,
    issuer: Issuer,
    /// Good ones.
    tokens: Vec<String>,
    /// Since when they are revoked.
    revoked: RwLock<Vec<(String, Instant)>>,
    next: AtomicU64,
}

/// Answer of the gateway.
struct Answer {
    begin: Mark,
    status: Option<StatusCode>,
    text: String,
}

const USERS: usize = 10;
/// Longest call: the gateway's filters and its route wait for 7 s at most.
const PATIENCE: Duration = Duration::from_secs(8);
/// Calls per revocation; number of revoked tokens to remember.
const REVOKES: u64 = 16;
const REMEMBERED: usize = 50;

// === impl Front ===

impl Front {
    /// Starts Envoy before the instances.
    pub(super) async fn start(
        book: Arc<Book>,
        fleet: Arc<Fleet>,
        folder: &Path,
        life: Duration,
    ) -> Result<Front, Error> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let issuer = Issuer::create(folder)?;
        let named = |(name, service)| fleet.of(service).iter().map(move |instance| (name, instance.grpc));
        let services = [
            (keyplane_auth_revocation::SERVICE.name, Service::Revocation),
            (keyplane_rate_limiting::SERVICE.name, Service::RateLimit),
            (keyplane_session::SERVICE.name, Service::Session),
        ];
        let guard = InProcessGuard::start()?;
        let gateway = Gateway {
            listen,
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            services: services.into_iter().flat_map(named).collect(),
            folder: folder.to_owned(),
            otlp_endpoint: None,
            cors_origins: "none".to_owned(),
            keys: issuer.keys().to_owned(),
            guard: guard.socket(),
        };
        let configuration = gateway.prepare()?;
        let envoy = tokio::task::spawn_blocking(move || Envoy::start(&Toolbox::find(), &configuration)).await??;
        let mint = |number| issuer.mint(&Grant { ttl: life, ..Grant::new(TENANT, user(number)) });
        let tokens = (0..USERS).map(mint).collect::<Result<_, _>>()?;
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Front {
            book,
            fleet,
            _envoy: envoy,
            _guard: guard,
            url: format!("http://{listen}"),
            http,
            issuer,
            tokens,
            revoked: RwLock::default(),
            next: AtomicU64::new(0),
        })
    }

    /// User lists its sessions; or a token is revoked and tried.
    pub(super) async fn act(&self, dice: u64) {
        let number = dice >> 8;
        match dice % REVOKES {
            0 => self.revoke(number).await,
            1 => {
                if let Some((token, at)) = self.pick_revoked(number) {
                    self.try_revoked(&token, at).await;
                }
            }
            _ => {
                let user = (number % USERS as u64) as usize;
                let answer = self.list(user, &self.tokens[user]).await;
                self.judge(&answer);
            }
        }
    }

    fn pick_revoked(&self, number: u64) -> Option<(String, Instant)> {
        let revoked = self.revoked.read();
        revoked.get(number.checked_rem(revoked.len() as u64)? as usize).cloned()
    }

    async fn revoke(&self, number: u64) {
        let jti = format!("front-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let grant = Grant { jti: Some(jti.clone()), ..Grant::new(TENANT, user(0)) };
        let Ok(token) = self.issuer.mint(&grant) else { return };
        let instance = self.fleet.pick(Service::Revocation, number);
        let mut client = RevocationServiceClient::new(instance.channel.clone());
        let request = RevokeTokenRequest {
            parent: format!("tenants/{TENANT}"),
            issuer: Issuer::NAME.to_owned(),
            jti,
            ..RevokeTokenRequest::default()
        };
        if self.book.call(Kind::Revoke, instance, client.revoke_token(request)).await.result.is_err() {
            return;
        }
        let at = Instant::now();
        sleep(BOUND).await;
        self.try_revoked(&token, at).await;
        let mut revoked = self.revoked.write();
        revoked.push((token, at));
        let many = revoked.len().saturating_sub(REMEMBERED);
        revoked.drain(..many);
    }

    async fn try_revoked(&self, token: &str, at: Instant) {
        let answer = self.list(0, token).await;
        let age = answer.begin.at.saturating_duration_since(at);
        let promise = Promise { age, safe: true, undoing: false };
        if let Some(outcome) = token::revoked(promise, answer.status == Some(StatusCode::OK)) {
            self.book.check(Invariant::Revoked, outcome.map_err(|text| format!("through the gateway: {text}")));
        }
        if answer.status != Some(StatusCode::UNAUTHORIZED) {
            self.judge(&answer);
        }
    }

    async fn list(&self, number: usize, token: &str) -> Answer {
        let url = format!("{}/v1/tenants/{TENANT}/users/{}/sessions", self.url, user(number));
        let begin = self.book.clock.mark();
        let reply = self.http.get(url).bearer_auth(token).send().await;
        let (status, text) = match reply {
            Ok(reply) => (Some(reply.status()), reply.text().await.unwrap_or_else(|error| error.to_string())),
            Err(error) => (None, error.to_string()),
        };
        Answer { begin, status, text }
    }

    fn judge(&self, answer: &Answer) {
        let failure = answer.failure();
        let silent = answer.status.is_none();
        self.book.hold(Invariant::Deadline, || silent.then(|| format!("the gateway did not answer: {}", answer.text)));
        let refused = answer.status == Some(StatusCode::UNAUTHORIZED);
        self.book
            .hold(Invariant::Good, || refused.then(|| format!("the gateway rejected a good token: {}", answer.text)));
        let (who, end) = (|| "a call through the gateway".to_owned(), Instant::now());
        if answer.begin.alone {
            let call = Span { from: answer.begin.at, to: end, excess: Duration::ZERO };
            let text = |failure: &Failure| format!("{}: {}", who(), failure.text());
            self.book.hold_call(Invariant::Alone, call, || failure.as_ref().map(text));
        }
        self.book.outcome(Kind::Gateway, answer.begin, end, failure.as_ref(), who);
    }
}

fn user(number: usize) -> String {
    format!("front-{number}")
}

// === impl Answer ===

impl Answer {
    fn failure(&self) -> Option<Failure> {
        let code = match self.status {
            Some(StatusCode::OK) => return None,
            Some(StatusCode::SERVICE_UNAVAILABLE) => Code::Unavailable,
            Some(StatusCode::GATEWAY_TIMEOUT) => Code::DeadlineExceeded,
            Some(StatusCode::UNAUTHORIZED) => Code::Unauthenticated,
            Some(StatusCode::NOT_FOUND) => Code::NotFound,
            Some(_) => Code::Internal,
            None => Code::Unknown,
        };
        let body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let reason = body["details"].as_array().into_iter().flatten().find_map(|detail| detail["reason"].as_str());
        let reason = reason.unwrap_or(NONE).to_owned();
        let status = self.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        Some(Failure { code, reason, unknown: true, message: format!("{status}: {}", self.text) })
    }
}

/// Asks an instance whether it is ready and its breaker closed; the error says why not.
pub(super) async fn well(http: &reqwest::Client, instance: &Instance) -> [Result<(), String>; 2] {
    let get = async |path: &str| {
        let reply = http.get(format!("http://{}{path}", instance.admin)).send().await;
        let reply = reply.map_err(|error| error.to_string())?;
        let status = reply.status();
        let text = reply.text().await.map_err(|error| error.to_string())?;
        if status.is_success() { Ok(text) } else { Err(format!("{status}: {}", text.trim())) }
    };
    let ready = get("/readyz").await.map(drop);
    let breaker = get("/metrics").await.and_then(|text| breaker(&text));
    [ready, breaker].map(|outcome| outcome.map_err(|text| format!("{}: {text}", instance.name())))
}

/// Reports whether all breakers on a page of metrics are closed.
fn breaker(metrics: &str) -> Result<(), String> {
    let mut lines = metrics.lines().filter(|line| line.starts_with("keyplane_store_breaker_state_ratio")).peekable();
    if lines.peek().is_none() {
        return Err("no metric shows its breaker".to_owned());
    }
    match lines.find(|line| !line.ends_with(" 0")) {
        Some(line) => Err(format!("the breaker is open: {line}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, text: &str) -> Answer {
        Answer { begin: Mark::calm(), status: StatusCode::from_u16(status).ok(), text: text.to_owned() }
    }

    #[test]
    fn error_is_known_by_its_reason() {
        assert!(answer(200, "{}").failure().is_none());
        let body =
            r#"{"code":14,"details":[{"@type":"t","retryDelay":"1s"},{"@type":"t","reason":"STORE_UNAVAILABLE"}]}"#;
        let failure = answer(503, body).failure().unwrap();
        assert!(failure.is("STORE_UNAVAILABLE") && failure.is_documented(Kind::Gateway));
        assert!(!answer(503, "upstream connect error").failure().unwrap().is_documented(Kind::Gateway));
        assert!(!answer(500, body).failure().unwrap().is_documented(Kind::Gateway));
        assert!(!answer(502, "").failure().unwrap().is_documented(Kind::Gateway));
        assert!(answer(0, "connection reset").failure().unwrap().is_documented(Kind::Gateway));
    }

    #[test]
    fn an_open_breaker_is_seen() {
        breaker("# HELP\nkeyplane_store_breaker_state_ratio{a=\"b\"} 0\n").unwrap();
        breaker("keyplane_store_breaker_state_ratio{a=\"b\"} 0\nkeyplane_store_breaker_state_ratio{a=\"c\"} 1\n")
            .unwrap_err();
        breaker("other 0\n").unwrap_err();
    }
}
