//! Writes: revoking and undoing.

use std::time::{Duration, Instant};

use futures::future::join_all;
use keyplane_audit::Cause;
use keyplane_contracts::Violation;
use keyplane_revocation::{CutoffBy, Millis, RevocationId, Scope, Sequence, State, Target, Version, text};
use keyplane_valkey::{Arg, Key, Value};
use tokio::time::sleep;

use super::{ATTEMPTS, ITEMS, Inner, Spans, Store, codec, nonces, scripts};
use crate::domain::{Cutoff, Durability, Outcome, Record, Revoke, Written};
use crate::error::Error;

/// Time after the reply at which the cutoff's millisecond is over on the store's clock.
const PASSED: Duration = Duration::from_millis(1);

/// Keys and arguments of an item, besides those of the [`Revoke`].
struct Item<'a> {
    record: Key,
    audit: Key,
    filters: Option<Filters>,
    /// List of the issuer's keys, and the id in it; for a key alone.
    list: Option<(Key, &'a str)>,
    nonce: String,
    target: String,
    cutoff: String,
    expires: String,
    keep: String,
}

/// Filters of a token: that of its `exp`, and that of the generation.
struct Filters {
    known: Option<(Key, String, i64)>,
    generation: (Key, String, i64),
    token: String,
}

// === impl Store ===

impl Store {
    /// Revokes. Each item has a result of its own, in the same order. Items of one partition go together, 64 in a call
    /// of the script, and all calls at the same time.
    ///
    /// A revocation that holds already is returned as it is ([`Outcome::Unchanged`]); it is only ever prolonged, and a
    /// cutoff only ever moves forward. A revocation that has expired already is not written ([`Outcome::Expired`]).
    /// Dropped before it is done, any of them may have been made; repeating them does no harm.
    ///
    /// A cutoff returns once the millisecond that it names is over by the store's clock, so that tokens issued
    /// afterwards are later: one or two milliseconds more.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a cutoff later than the store's clock (`cutoff_time`), and for a token that would live,
    /// or a revocation that would hold, longer than allowed (`expire_time`); [`Error::Store`]; [`Error::NoRandomness`].
    pub async fn revoke(&self, revokes: Vec<Revoke>) -> Vec<Result<Written, Error>> {
        let mut groups: Vec<Vec<(usize, RevocationId)>> = vec![Vec::new(); self.partitions() as usize];
        for (index, revoke) in revokes.iter().enumerate() {
            let id = revoke.target.id();
            groups[self.partition(&id) as usize].push((index, id));
        }
        let chunks = groups
            .iter()
            .zip(0..)
            .flat_map(|(group, partition)| group.chunks(ITEMS).map(move |chunk| (partition, chunk)));
        let calls = chunks.map(|(partition, chunk)| {
            let own: Vec<(&Revoke, &RevocationId)> = chunk.iter().map(|(index, id)| (&revokes[*index], id)).collect();
            async move { (chunk, self.revoke_chunk(partition, &own).await) }
        });
        let mut results: Vec<Option<Result<Written, Error>>> = Vec::new();
        results.resize_with(revokes.len(), || None);
        for (chunk, outcome) in join_all(calls).await {
            match outcome {
                Ok(written) => {
                    chunk.iter().zip(written).for_each(|((index, _), result)| results[*index] = Some(result));
                }
                Err(error) => chunk.iter().for_each(|(index, _)| results[*index] = Some(Err(error.clone()))),
            }
        }
        let missing = || Err(Error::Corrupt("a reply of another length"));
        results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
    }

    /// Undoes a revocation: from now on it has no effect; only the audit keeps it. Copies of its earlier states are
    /// ignored; revoking the target anew is not.
    ///
    /// Repeating it changes nothing, whatever version it names.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::StaleWrite`]; [`Error::Store`]; [`Error::NoRandomness`].
    pub async fn undo(
        &self,
        tenant: &str,
        id: &RevocationId,
        version: Option<Version>,
        cause: Cause,
    ) -> Result<Written, Error> {
        let spans = self.spans();
        let partition = self.partition(id);
        let keys = self.keys();
        let (head, feed) = (keys.head(partition), keys.feed(partition));
        let (record, audit) = (keys.record(tenant, id, partition), keys.audit(tenant, partition));
        let nonce = nonces(1)?.concat();
        let token =
            id.as_str().strip_prefix('t').map_or_else(String::new, |hash| format!("t {} {hash}", text::encode(tenant)));
        let version = version.map(|version| version.to_string()).unwrap_or_default();
        let mut args = spans.common(1, spans.generation_of(self.now())).to_vec();
        args.extend([Arg::from(&nonce), (&token).into(), (&version).into()]);
        args.extend(cause.fields().map(|(_, value)| Arg::from(value)));
        let Inner { valkey, writes, .. } = &*self.inner;
        let sent = Instant::now();
        let (reply, durability) =
            writes.run(valkey, partition, &scripts::UNDO, &[&head, &feed, &record, &audit], &args).await?;
        let reply = reply.array()?;
        let outcome = match reply.first().ok_or(Error::Corrupt("an empty reply"))?.text()? {
            "MISSING" => return Err(Error::NotFound),
            "VERSION" => {
                let current = reply.get(1).ok_or(Error::Corrupt("a reply of another length"))?;
                return Err(Error::StaleWrite { current: codec::count(current)? });
            }
            "SAME" => Outcome::Unchanged,
            _ => Outcome::Changed,
        };
        let [_, now, sequence, text] = codec::exactly(Value::Array(reply))?;
        self.observe_time(sent, &now)?;
        let record = codec::record(text.text()?, tenant, id)?;
        let sequence = Sequence::at(partition, codec::count(&sequence)?, self.partitions());
        Ok(Written { record, sequence, durability, outcome })
    }

    async fn revoke_chunk(
        &self,
        partition: u32,
        revokes: &[(&Revoke, &RevocationId)],
    ) -> Result<Vec<Result<Written, Error>>, Error> {
        let spans = self.spans();
        for _ in 0..ATTEMPTS {
            let now = self.now();
            let items = self.items(partition, revokes, spans, now)?;
            let (head, feed) = (self.keys().head(partition), self.keys().feed(partition));
            let mut keys = vec![&head, &feed];
            let mut args = spans.common(items.len(), spans.generation_of(now)).to_vec();
            args.extend([Arg::from(spans.leeway), spans.furthest_exp.into(), spans.furthest_end.into()]);
            for (item, (revoke, _)) in items.iter().zip(revokes) {
                item.push(&head, revoke, spans, &mut keys, &mut args);
            }
            let Inner { valkey, writes, .. } = &*self.inner;
            let sent = Instant::now();
            let (reply, durability) = writes.run(valkey, partition, &scripts::REVOKE, &keys, &args).await?;
            let Some(reply) = self.accept(sent, reply)? else { continue };
            let [_, now, last, rows] = codec::exactly(Value::Array(reply))?;
            let (now, last) = (codec::moment(&now)?, codec::count(&last)?);
            let rows = rows.array()?;
            if rows.len() != revokes.len() {
                return Err(Error::Corrupt("a reply of another length"));
            }
            let read = |(row, (revoke, id)): (Value, &(&Revoke, &RevocationId))| {
                self.written(row, partition, last, revoke, id, durability)
            };
            let written: Vec<Result<Written, Error>> = rows.into_iter().zip(revokes).map(read).collect();
            if written.iter().flatten().any(|made| made.record.state.cutoff.is_some_and(|cutoff| cutoff >= now)) {
                sleep(PASSED).await;
            }
            return Ok(written);
        }
        Err(super::jumped())
    }

    fn items<'a>(
        &self,
        partition: u32,
        revokes: &[(&Revoke, &'a RevocationId)],
        spans: &Spans,
        now: Millis,
    ) -> Result<Vec<Item<'a>>, Error> {
        let keys = self.keys();
        let filter = |exp: Option<Millis>| {
            let bucket = spans.buckets.bucket_of(exp, now);
            (keys.filter(bucket, partition), bucket.to_string(), spans.buckets.until(bucket).0)
        };
        let item = |((revoke, id), nonce): (&(&Revoke, &'a RevocationId), String)| {
            let Target { tenant, scope } = &revoke.target;
            let (mut filters, mut list) = (None, None);
            if let Scope::Token(hash) = scope {
                filters = Some(Filters {
                    known: revoke.expires.filter(|_| revoke.exp_is_proven).map(|exp| filter(Some(exp))),
                    generation: filter(None),
                    token: hash.to_string(),
                });
            } else if let Scope::Key { issuer, .. } = scope {
                list = Some((keys.keys_of(tenant, issuer, partition), id.as_str()));
            }
            let keep: Vec<String> = revoke.keep.iter().map(|sid| text::encode(sid)).collect();
            Item {
                record: keys.record(tenant, id, partition),
                audit: keys.audit(tenant, partition),
                filters,
                list,
                nonce,
                target: revoke.target.encode(),
                cutoff: match revoke.cutoff {
                    Cutoff::All | Cutoff::Now => String::new(),
                    Cutoff::At(at) => at.to_string(),
                },
                expires: revoke.expires.map(|expires| expires.to_string()).unwrap_or_default(),
                keep: keep.join(","),
            }
        };
        Ok(revokes.iter().zip(nonces(revokes.len())?).map(item).collect())
    }

    /// Result of one item.
    fn written(
        &self,
        row: Value,
        partition: u32,
        last: u64,
        revoke: &Revoke,
        id: &RevocationId,
        durability: Durability,
    ) -> Result<Written, Error> {
        let [status, seq, text] = codec::exactly(row)?;
        let reject = |field, rule: &str| Err(Error::Invalid(vec![Violation::new(field, rule)]));
        let (outcome, seq) = match status.text()? {
            "CHANGED" => (Outcome::Changed, codec::count(&seq)?),
            "SAME" => (Outcome::Unchanged, last),
            "EXPIRED" => (Outcome::Expired, last),
            "FUTURE" => return reject("cutoff_time", "must not be in the future, by the store's clock"),
            "FAR" if matches!(revoke.target.scope, Scope::Token(_)) => {
                return reject("expire_time", "must not be further from now than tokens may live");
            }
            "FAR" => return reject("expire_time", "must be at most 400 days from now"),
            _ => return Err(Error::Corrupt("an unknown outcome in a reply")),
        };
        let record = match outcome {
            Outcome::Changed | Outcome::Unchanged => codec::record(text.text()?, &revoke.target.tenant, id)?,
            Outcome::Expired => self.expired_record(revoke),
        };
        let sequence = Sequence::at(partition, seq, self.partitions());
        Ok(Written { record, sequence, durability, outcome })
    }

    /// Record that would have been written.
    fn expired_record(&self, revoke: &Revoke) -> Record {
        let expires = revoke.expires.unwrap_or_default();
        let is_token = matches!(revoke.target.scope, Scope::Token(_));
        let leeway = if is_token { self.inner.settings.rules.leeway } else { Duration::ZERO };
        let token_expires = revoke.expires.filter(|_| is_token);
        let state =
            State { undone: false, expires: expires.plus(leeway), cutoff: None, token_expires, kept: Vec::new() };
        Record { target: revoke.target.clone(), state, version: Version(0) }
    }
}

// === impl Item ===

impl Item<'_> {
    fn push<'a>(
        &'a self,
        any: &'a Key,
        revoke: &'a Revoke,
        spans: &Spans,
        keys: &mut Vec<&'a Key>,
        args: &mut Vec<Arg<'a>>,
    ) {
        let (kind, (life, slack)) = match revoke.target.scope {
            Scope::Token(_) if revoke.exp_is_proven => ("token", spans.token),
            Scope::Token(_) => ("stated", spans.token),
            Scope::Session(_) => ("until", spans.cutoff),
            Scope::Key { .. } => ("key", spans.key),
            // A login may be refreshed for long: its tokens keep the `auth_time`, and get a new `exp` each time.
            Scope::Subject { by: CutoffBy::AuthTime, .. } => ("cutoff", spans.key),
            Scope::Subject { by: CutoffBy::IssuedAt, .. } | Scope::Client(_) | Scope::Tenant => {
                ("cutoff", spans.cutoff)
            }
        };
        let filters = self.filters.as_ref();
        let known = filters.and_then(|filters| filters.known.as_ref());
        let generation = filters.map(|filters| &filters.generation);
        let key = |filter: Option<&'a (Key, String, i64)>| filter.map_or(any, |(key, _, _)| key);
        let (held_in, named) = match &self.list {
            Some((list, id)) => (list, *id),
            None => (key(known), filters.map_or("", |filters| filters.token.as_str())),
        };
        keys.extend([&self.record, &self.audit, held_in, key(generation)]);
        args.extend([
            Arg::from(&self.nonce),
            (&self.target).into(),
            kind.into(),
            (&self.cutoff).into(),
            (&self.expires).into(),
            life.into(),
            slack.into(),
            (&self.keep).into(),
        ]);
        for filter in [known, generation] {
            args.push(filter.map_or("", |(_, bucket, _)| bucket.as_str()).into());
            args.push(filter.map_or(0, |(_, _, until)| *until).into());
        }
        args.push(named.into());
        args.extend(revoke.cause.fields().map(|(_, value)| Arg::from(value)));
    }
}
