//! Requests to revoke.

use std::time::Duration;

use keyplane_audit::Cause;
use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revoke_request::Target as Of;
use keyplane_contracts::rules::revocation as stated;
use keyplane_contracts::{Violation, Violations};
use keyplane_revocation::{CutoffBy, Millis, Rules, Scope, Target, TokenHash};

use super::jwt::Jwt;
use super::{checked, fields};
use crate::domain::names::is_nameable;
use crate::domain::{Cutoff, Revoke};
use crate::error::Error;

/// Most revocations of one batch.
const BATCH: usize = stated::BATCH;
/// Most sessions that a cutoff may leave alone.
const KEPT: usize = stated::KEPT;
/// Longest time that a session or a key can be revoked for.
const LONGEST: Duration = Duration::from_hours(400 * 24);

/// Bounds of a request's fields.
#[derive(Clone, Copy, Debug)]
pub(in crate::grpc) struct Bounds<'a> {
    /// Rules for tokens.
    pub(in crate::grpc) rules: &'a Rules,
    /// Store's time.
    pub(in crate::grpc) now: Millis,
    /// Claim that names a token's tenant.
    pub(in crate::grpc) tenant_claim: &'a str,
}

/// Request that is being read.
pub(in crate::grpc) struct Reading<'a> {
    /// Path of the request in the message, such as `requests[3].token.`; empty for the message itself.
    at: &'a str,
    /// Parent of the batch that it is part of.
    parent: Option<&'a str>,
    bounds: Bounds<'a>,
    /// Violations so far.
    violations: Violations,
}

/// Token of a request that revokes one; empty where there is none, or its claims are stated instead.
pub(in crate::grpc) fn token_of(request: &pb::RevokeRequest) -> &str {
    if let Some(Of::Token(request)) = &request.target { &request.token } else { "" }
}

/// Reads a batch. `proven` states for each item, in order, whether the signature of its `token` holds.
pub(in crate::grpc) fn batch_revoke(
    request: pb::BatchRevokeRequest,
    bounds: Bounds<'_>,
    proven: &[bool],
) -> Result<Vec<Revoke>, Error> {
    let mut violations = Violations::new();
    let tenant = violations.keep(fields::tenant(&request.parent, "parent").map(drop));
    let sent = request.requests.len();
    if !(1..=BATCH).contains(&sent) {
        violations.add("requests", format!("must be 1 to {BATCH}; {sent} were sent"));
        return checked(None, violations);
    }
    let mut revokes = Vec::with_capacity(sent);
    for (index, item) in request.requests.into_iter().enumerate() {
        let (at, proven) = (format!("requests[{index}]"), proven.get(index).copied().unwrap_or(false));
        revokes.extend(any(item, Some(&request.parent), &at, bounds, proven, &mut violations));
    }
    checked(tenant, violations).map(|()| revokes)
}

/// Reads an item of a bulk, with its parent.
pub(in crate::grpc) fn bulk_item(
    request: &mut pb::BulkRevokeRequest,
    bounds: Bounds<'_>,
    proven: bool,
) -> Result<Revoke, Error> {
    let mut violations = Violations::new();
    let sent = request.item.len();
    if sent > 128 {
        violations.add("item", format!("must have at most 128 bytes; {sent} were sent"));
        // The item comes back with the result.
        request.item.clear();
    }
    let revoke = any(request.request.take().unwrap_or_default(), None, "request", bounds, proven, &mut violations);
    checked(revoke, violations)
}

/// Reads an item at the path `at`; in a batch with a parent, each item has none or the same.
fn any(
    request: pb::RevokeRequest,
    parent: Option<&str>,
    at: &str,
    bounds: Bounds<'_>,
    proven: bool,
    violations: &mut Violations,
) -> Option<Revoke> {
    let Some(target) = request.target else {
        violations.add(at, "must have exactly one of token, session, subject, client, key, tenant");
        return None;
    };
    let reading = |kind: &str| format!("{at}.{kind}.");
    let read = match target {
        Of::Token(request) => token(request, proven, Reading::new(&reading("token"), parent, bounds)),
        Of::Session(request) => session(request, Reading::new(&reading("session"), parent, bounds)),
        Of::Subject(request) => subject(request, Reading::new(&reading("subject"), parent, bounds)),
        Of::Client(request) => client(request, Reading::new(&reading("client"), parent, bounds)),
        Of::Key(request) => key(request, Reading::new(&reading("key"), parent, bounds)),
        Of::Tenant(request) => whole_tenant(request, Reading::new(&reading("tenant"), parent, bounds)),
    };
    read.map_err(|broken| violations.extend(broken)).ok()
}

/// Result of reading a request.
pub(in crate::grpc) type Read = Result<Revoke, Vec<Violation>>;

/// Reads a token; `proven`: the signature of its `token` holds.
pub(in crate::grpc) fn token(request: pb::RevokeTokenRequest, proven: bool, mut reading: Reading<'_>) -> Read {
    let tenant = reading.tenant(&request.parent);
    // A token that lives longer than tokens may is always rejected; no need to remember it for so long.
    let stated = reading.until(request.expire_time, reading.bounds.rules.max_lifetime);
    let (issuer, jti, expires) = if request.token.is_empty() {
        (reading.named(&request.issuer, "issuer"), reading.named(&request.jti, "jti"), stated)
    } else {
        let jwt = reading.jwt(&request, tenant.as_deref(), stated);
        jwt.map_or((None, None, None), |jwt| (Some(jwt.issuer.into()), Some(jwt.jti.into()), jwt.expires))
    };
    let scope = tenant.as_deref().zip(issuer).zip(jti);
    let scope = scope.map(|((tenant, issuer), jti)| Scope::Token(TokenHash::digest(tenant, &issuer, &jti)));
    let read = reading.done(tenant, scope, Cutoff::All, expires, Vec::new(), request.cause);
    read.map(|revoke| Revoke { exp_is_proven: proven && !request.token.is_empty(), ..revoke })
}

/// Reads a login session.
pub(in crate::grpc) fn session(request: pb::RevokeSessionRequest, mut reading: Reading<'_>) -> Read {
    let tenant = reading.tenant(&request.parent);
    let scope = reading.named(&request.sid, "sid").map(Scope::Session);
    let expires = reading.until(request.expire_time, LONGEST);
    reading.done(tenant, scope, Cutoff::All, expires, Vec::new(), request.cause)
}

/// Reads a user.
pub(in crate::grpc) fn subject(request: pb::RevokeSubjectRequest, mut reading: Reading<'_>) -> Read {
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
    let field = [reading.at, "subject"].concat();
    let scope = fields::user(&request.subject, &field, &mut reading.violations).map(|user| Scope::Subject { user, by });
    let cutoff = reading.cutoff(request.cutoff_time);
    let keep = reading.kept(&request.keep_sids);
    reading.done(tenant, scope, cutoff, None, keep, request.cause)
}

/// Reads a client.
pub(in crate::grpc) fn client(request: pb::RevokeClientRequest, mut reading: Reading<'_>) -> Read {
    let tenant = reading.tenant(&request.parent);
    let scope = reading.named(&request.client, "client").map(Scope::Client);
    let cutoff = reading.cutoff(request.cutoff_time);
    reading.done(tenant, scope, cutoff, None, Vec::new(), request.cause)
}

/// Reads a signing key.
pub(in crate::grpc) fn key(request: pb::RevokeKeyRequest, mut reading: Reading<'_>) -> Read {
    let tenant = reading.tenant(&request.parent);
    let issuer = reading.named(&request.issuer, "issuer");
    let kid = reading.named(&request.kid, "kid");
    let scope = issuer.zip(kid).map(|(issuer, kid)| Scope::Key { issuer, kid });
    let expires = reading.until(request.expire_time, LONGEST);
    reading.done(tenant, scope, Cutoff::All, expires, Vec::new(), request.cause)
}

/// Reads a tenant.
pub(in crate::grpc) fn whole_tenant(request: pb::RevokeTenantRequest, mut reading: Reading<'_>) -> Read {
    let tenant = reading.tenant(&request.parent);
    let cutoff = reading.cutoff(request.cutoff_time);
    reading.done(tenant, Some(Scope::Tenant), cutoff, None, Vec::new(), request.cause)
}

// === impl Reading ===

impl<'a> Reading<'a> {
    pub(in crate::grpc) fn new(at: &'a str, parent: Option<&'a str>, bounds: Bounds<'a>) -> Reading<'a> {
        Reading { at, parent, bounds, violations: Violations::new() }
    }

    fn violated(&mut self, field: &str, rule: String) {
        self.violations.add([self.at, field].concat(), rule);
    }

    fn tenant(&mut self, own: &str) -> Option<Box<str>> {
        let Some(parent) = self.parent else {
            let tenant = fields::tenant(own, &[self.at, "parent"].concat());
            return self.violations.keep(tenant).map(Into::into);
        };
        if !own.is_empty() && own != parent {
            self.violated("parent", "must be empty, or the parent of the batch".to_owned());
        }
        // The batch reports its own parent's violation, once.
        fields::tenant(parent, "").ok().map(Into::into)
    }

    fn named(&mut self, text: &str, field: &'static str) -> Option<Box<str>> {
        let named = !text.is_empty() && is_nameable(text);
        if !named {
            self.violated(field, fields::unnameable(text));
        }
        named.then(|| text.into())
    }

    fn moment(&mut self, time: Option<prost_types::Timestamp>, field: &str) -> Option<Millis> {
        let broken = || Violation::new([self.at, field].concat(), fields::NO_MOMENT);
        time.and_then(|time| self.violations.keep(fields::moment(&time).ok_or_else(broken)))
    }

    /// Reads an end, at most `most` (and the leeway of clocks) from now. A past end is no error: the store finds that
    /// there is nothing left to revoke.
    fn until(&mut self, time: Option<prost_types::Timestamp>, most: Duration) -> Option<Millis> {
        let until = self.moment(time, "expire_time")?;
        self.near("expire_time", until, most);
        Some(until)
    }

    fn near(&mut self, field: &str, until: Millis, most: Duration) {
        if until > self.bounds.now.plus(most).plus(self.bounds.rules.leeway) {
            self.violated(field, format!("must be at most {} s from now", most.as_secs()));
        }
    }

    /// Reads the claims of `request.token`. Fields beside it must agree with them.
    fn jwt(&mut self, request: &pb::RevokeTokenRequest, tenant: Option<&str>, stated: Option<Millis>) -> Option<Jwt> {
        let Some(jwt) = Jwt::read(&request.token, self.bounds.tenant_claim) else {
            let sent = request.token.len();
            self.violated("token", format!("must be a JWT of at most 16384 bytes; {sent} bytes were sent"));
            return None;
        };
        for (name, stated, claim) in [("issuer", &request.issuer, &jwt.issuer), ("jti", &request.jti, &jwt.jti)] {
            if claim.is_empty() || !is_nameable(claim) {
                self.violated("token", format!("its {name} {}", fields::unnameable(claim)));
            }
            if !stated.is_empty() && stated != claim {
                self.violated(name, "must be empty, or the claim of the token".to_owned());
            }
        }
        if jwt.tenant.as_deref().is_some_and(|own| tenant.is_some_and(|tenant| tenant != own)) {
            self.violated("token", "must be a token of the tenant in `parent`".to_owned());
        }
        if stated.is_some() && stated != jwt.expires {
            self.violated("expire_time", "must be unset, or the claim of the token".to_owned());
        }
        if let Some(expires) = jwt.expires {
            self.near("token", expires, self.bounds.rules.max_lifetime);
        }
        Some(jwt)
    }

    /// Reads a cutoff. The store's clock decides whether it is in the future.
    fn cutoff(&mut self, time: Option<prost_types::Timestamp>) -> Cutoff {
        let at = self.moment(time, "cutoff_time");
        at.map_or(Cutoff::Now, Cutoff::At)
    }

    fn kept(&mut self, sids: &[String]) -> Vec<Box<str>> {
        if sids.len() > KEPT {
            self.violated("keep_sids", format!("must be at most {KEPT}; {} were sent", sids.len()));
            return Vec::new();
        }
        let mut kept: Vec<Box<str>> = Vec::with_capacity(sids.len());
        for (index, sid) in sids.iter().enumerate() {
            if sid.is_empty() || !is_nameable(sid) {
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
        cause: Option<audit::Cause>,
    ) -> Read {
        let cause = Cause::parse(cause, self.at, &mut self.violations);
        match tenant.zip(scope) {
            Some((tenant, scope)) => {
                let target = Target { tenant, scope };
                self.violations.into_result(Revoke { target, cutoff, expires, exp_is_proven: true, keep, cause })
            }
            None => Err(self.violations.into_iter().collect()),
        }
    }
}
