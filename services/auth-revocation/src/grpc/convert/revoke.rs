//! What is to be revoked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revoke_request::Target as Of;
use keyplane_contracts::{Violation, Violations};
use keyplane_revocation::{CutoffBy, Millis, Rules, Scope, Target, TokenHash};

use super::{checked, fields};
use crate::domain::{Cutoff, Revoke};
use crate::error::Error;

/// Revocations of one batch.
const BATCH: usize = 1000;
/// Sessions that a cutoff may leave alone.
const KEPT: usize = 16;
/// The longest that a session or a key can be refused.
const LONGEST: Duration = Duration::from_hours(400 * 24);

/// A request that is being read.
struct Reading<'a> {
    /// Where it stands in what was sent: `requests[3].token.`; empty if it is what was sent.
    at: &'a str,
    /// The parent of the batch that it is part of.
    parent: Option<&'a str>,
    rules: &'a Rules,
    /// What is wrong with it so far.
    violations: Violations,
}

/// Token, session, and so on of a batch.
pub(in crate::grpc) fn batch_revoke(request: pb::BatchRevokeRequest, rules: &Rules) -> Result<Vec<Revoke>, Error> {
    let mut violations = Violations::new();
    let tenant = violations.keep(fields::tenant(&request.parent, "parent").map(drop));
    let sent = request.requests.len();
    if !(1..=BATCH).contains(&sent) {
        violations.add("requests", format!("must be 1 to {BATCH}; {sent} were sent"));
        return checked(None, violations);
    }
    let mut revokes = Vec::with_capacity(sent);
    for (index, one) in request.requests.into_iter().enumerate() {
        revokes.extend(any(one, Some(&request.parent), &format!("requests[{index}]"), rules, &mut violations));
    }
    checked(tenant, violations).map(|()| revokes)
}

/// An item of a bulk, with its parent.
pub(in crate::grpc) fn bulk_item(request: &mut pb::BulkRevokeRequest, rules: &Rules) -> Result<Revoke, Error> {
    let mut violations = Violations::new();
    let sent = request.item.len();
    if sent > 128 {
        violations.add("item", format!("must have at most 128 bytes; {sent} were sent"));
        // It comes back with the result.
        request.item.clear();
    }
    let revoke = any(request.request.take().unwrap_or_default(), None, "request", rules, &mut violations);
    checked(revoke, violations)
}

/// One of many at `at`; where the many have a parent, each has none or the same.
fn any(
    request: pb::RevokeRequest,
    parent: Option<&str>,
    at: &str,
    rules: &Rules,
    violations: &mut Violations,
) -> Option<Revoke> {
    let Some(of) = request.target else {
        violations.add(at, "must have exactly one of token, session, subject, client, key, tenant");
        return None;
    };
    let reading = |kind: &str| format!("{at}.{kind}.");
    let read = match of {
        Of::Token(request) => token(request, Reading::new(&reading("token"), parent, rules)),
        Of::Session(request) => session(request, Reading::new(&reading("session"), parent, rules)),
        Of::Subject(request) => subject(request, Reading::new(&reading("subject"), parent, rules)),
        Of::Client(request) => client(request, Reading::new(&reading("client"), parent, rules)),
        Of::Key(request) => key(request, Reading::new(&reading("key"), parent, rules)),
        Of::Tenant(request) => whole_tenant(request, Reading::new(&reading("tenant"), parent, rules)),
    };
    read.map_err(|found| violations.extend(found)).ok()
}

/// A token.
pub(in crate::grpc) fn revoke_token(request: pb::RevokeTokenRequest, rules: &Rules) -> Result<Revoke, Error> {
    token(request, Reading::new("", None, rules)).map_err(Error::Invalid)
}

/// A login session.
pub(in crate::grpc) fn revoke_session(request: pb::RevokeSessionRequest, rules: &Rules) -> Result<Revoke, Error> {
    session(request, Reading::new("", None, rules)).map_err(Error::Invalid)
}

/// A user.
pub(in crate::grpc) fn revoke_subject(request: pb::RevokeSubjectRequest, rules: &Rules) -> Result<Revoke, Error> {
    subject(request, Reading::new("", None, rules)).map_err(Error::Invalid)
}

/// A client.
pub(in crate::grpc) fn revoke_client(request: pb::RevokeClientRequest, rules: &Rules) -> Result<Revoke, Error> {
    client(request, Reading::new("", None, rules)).map_err(Error::Invalid)
}

/// A signing key.
pub(in crate::grpc) fn revoke_key(request: pb::RevokeKeyRequest, rules: &Rules) -> Result<Revoke, Error> {
    key(request, Reading::new("", None, rules)).map_err(Error::Invalid)
}

/// A tenant.
pub(in crate::grpc) fn revoke_tenant(request: pb::RevokeTenantRequest, rules: &Rules) -> Result<Revoke, Error> {
    whole_tenant(request, Reading::new("", None, rules)).map_err(Error::Invalid)
}

type Read = Result<Revoke, Vec<Violation>>;

fn token(request: pb::RevokeTokenRequest, mut reading: Reading<'_>) -> Read {
    let tenant = reading.tenant(&request.parent);
    let issuer = reading.named(&request.issuer, "issuer");
    let jti = reading.named(&request.jti, "jti");
    // A token that lives longer than tokens may is refused in any case; no need to remember it for so long.
    let expires = reading.until(request.expire_time, reading.rules.max_lifetime);
    let scope = tenant.as_deref().zip(issuer).zip(jti);
    let scope = scope.map(|((tenant, issuer), jti)| Scope::Token(TokenHash::of(tenant, &issuer, &jti)));
    reading.done(tenant, scope, Cutoff::All, expires, Vec::new(), request.cause)
}

fn session(request: pb::RevokeSessionRequest, mut reading: Reading<'_>) -> Read {
    let tenant = reading.tenant(&request.parent);
    let scope = reading.named(&request.sid, "sid").map(Scope::Session);
    let expires = reading.until(request.expire_time, LONGEST);
    reading.done(tenant, scope, Cutoff::All, expires, Vec::new(), request.cause)
}

fn subject(request: pb::RevokeSubjectRequest, mut reading: Reading<'_>) -> Read {
    use pb::revoke_subject_request::Kind;
    let tenant = reading.tenant(&request.parent);
    let by = match Kind::try_from(request.kind) {
        Ok(Kind::Unspecified | Kind::IssuedAt) => CutoffBy::IssuedAt,
        Ok(Kind::AuthTime) => CutoffBy::AuthTime,
        Err(_) => {
            reading.violated("kind", format!("must be a Kind; {} is none", request.kind));
            CutoffBy::IssuedAt
        }
    };
    let field = [reading.at, "user"].concat();
    let scope = fields::user(&request.user, &field, &mut reading.violations).map(|user| Scope::Subject { user, by });
    let cutoff = reading.cutoff(request.not_before);
    let keep = reading.kept(&request.keep_sids);
    reading.done(tenant, scope, cutoff, None, keep, request.cause)
}

fn client(request: pb::RevokeClientRequest, mut reading: Reading<'_>) -> Read {
    let tenant = reading.tenant(&request.parent);
    let scope = reading.named(&request.client, "client").map(Scope::Client);
    let cutoff = reading.cutoff(request.not_before);
    reading.done(tenant, scope, cutoff, None, Vec::new(), request.cause)
}

fn key(request: pb::RevokeKeyRequest, mut reading: Reading<'_>) -> Read {
    let tenant = reading.tenant(&request.parent);
    let issuer = reading.named(&request.issuer, "issuer");
    let kid = reading.named(&request.kid, "kid");
    let scope = issuer.zip(kid).map(|(issuer, kid)| Scope::Key { issuer, kid });
    let expires = reading.until(request.expire_time, LONGEST);
    reading.done(tenant, scope, Cutoff::All, expires, Vec::new(), request.cause)
}

fn whole_tenant(request: pb::RevokeTenantRequest, mut reading: Reading<'_>) -> Read {
    let tenant = reading.tenant(&request.parent);
    let cutoff = reading.cutoff(request.not_before);
    reading.done(tenant, Some(Scope::Tenant), cutoff, None, Vec::new(), request.cause)
}

// === impl Reading ===

impl<'a> Reading<'a> {
    fn new(at: &'a str, parent: Option<&'a str>, rules: &'a Rules) -> Reading<'a> {
        Reading { at, parent, rules, violations: Violations::new() }
    }

    fn violated(&mut self, what: &str, rule: String) {
        self.violations.add([self.at, what].concat(), rule);
    }

    fn tenant(&mut self, own: &str) -> Option<Box<str>> {
        let Some(parent) = self.parent else {
            let tenant = fields::tenant(own, &[self.at, "parent"].concat());
            return self.violations.keep(tenant).map(Into::into);
        };
        if !own.is_empty() && own != parent {
            self.violated("parent", "must be empty, or the parent of the batch".to_owned());
        }
        // What is wrong with the batch's is told once, by the batch.
        fields::tenant(parent, "").ok().map(Into::into)
    }

    fn named(&mut self, text: &str, what: &'static str) -> Option<Box<str>> {
        fields::named(text, self.at, what, &mut self.violations)
    }

    /// Until when, at most `most` (and the leeway of clocks) from now. What has passed is no error: the store finds that
    /// there is nothing left to revoke.
    fn until(&mut self, time: Option<prost_types::Timestamp>, most: Duration) -> Option<Millis> {
        let until = fields::optional_moment(time, self.at, "expire_time", &mut self.violations)?;
        if until > now().plus(most).plus(self.rules.leeway) {
            self.violated("expire_time", format!("must be at most {} s from now", most.as_secs()));
        }
        Some(until)
    }

    /// Up to when. That it is not in the future is for the store's clock to say.
    fn cutoff(&mut self, time: Option<prost_types::Timestamp>) -> Cutoff {
        let at = fields::optional_moment(time, self.at, "not_before", &mut self.violations);
        at.map_or(Cutoff::Now, Cutoff::At)
    }

    fn kept(&mut self, sids: &[String]) -> Vec<Box<str>> {
        if sids.len() > KEPT {
            self.violated("keep_sids", format!("must be at most {KEPT}; {} were sent", sids.len()));
            return Vec::new();
        }
        let mut kept: Vec<Box<str>> = Vec::with_capacity(sids.len());
        for (index, sid) in sids.iter().enumerate() {
            if sid.is_empty() || !fields::nameable(sid) {
                self.violated(&format!("keep_sids[{index}]"), fields::unnameable(sid));
            } else if !kept.iter().any(|known| **known == **sid) {
                kept.push(sid.as_str().into());
            }
        }
        kept
    }

    fn done(
        mut self,
        tenant: Option<Box<str>>,
        scope: Option<Scope>,
        cutoff: Cutoff,
        expires: Option<Millis>,
        keep: Vec<Box<str>>,
        cause: Option<pb::Cause>,
    ) -> Read {
        let cause = fields::cause(cause, self.at, &mut self.violations);
        match tenant.zip(scope) {
            Some((tenant, scope)) => {
                let target = Target { tenant, scope };
                self.violations.into_result(Revoke { target, cutoff, expires, keep, cause })
            }
            None => Err(self.violations.into_iter().collect()),
        }
    }
}

/// This machine's clock: good enough for bounds of hours; revocations follow the store's.
pub(in crate::grpc) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
