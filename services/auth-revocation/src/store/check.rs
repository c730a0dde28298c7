//! Exact checks on the primaries: judges a token by all its revocations, or reads the revocation of a single token.

use std::time::Instant;

use futures::future::{try_join, try_join_all};
use keyplane_revocation::{Answer, Claims, Millis, RevocationId, Scope, State, Target, TokenHash, judge};
use keyplane_valkey::{Arg, Key, Value};

use super::{Spans, Store, codec, scripts};
use crate::domain::Record;
use crate::error::Error;

/// Targets in one partition that may revoke a token.
#[derive(Default)]
struct Share {
    others: Vec<(Target, RevocationId)>,
    token: Option<(Target, RevocationId, TokenHash)>,
}

/// Record of a read, if it exists.
fn optional(read: Result<Record, Error>) -> Result<Option<Record>, Error> {
    match read {
        Ok(record) => Ok(Some(record)),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

// === impl Store ===

impl Store {
    /// Judges a token by all that the store has: a script for each partition that has a share in it, all at the same
    /// time. Reads the revoked keys of the issuer as well, where the token does not name the key that signed it. Exact:
    /// never [`Answer::Suspect`]. Time is the store's; of several nodes', the latest.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::Corrupt`]. Cancel safe.
    pub async fn judge(&self, claims: &Claims<'_>) -> Result<Answer, Error> {
        let spans = self.spans();
        let mut shares: Vec<(u32, Share)> = Vec::new();
        for target in claims.targets() {
            let id = target.id();
            let partition = self.partition(&id);
            let index = shares.iter().position(|(known, _)| *known == partition).unwrap_or_else(|| {
                shares.push((partition, Share::default()));
                shares.len() - 1
            });
            let share = &mut shares[index].1;
            if let Scope::Token(hash) = target.scope {
                share.token = Some((target, id, hash));
            } else {
                share.others.push((target, id));
            }
        }
        let calls = shares.iter().map(|(partition, share)| self.judge_share(spans, *partition, share, claims.expires));
        // Boxed: the reads of few tokens must not make the others' checks large.
        let (answers, mut known) = try_join(try_join_all(calls), Box::pin(self.keys_of(claims))).await?;
        let mut now = Millis(i64::MIN);
        for (store_time, states) in answers {
            now = now.max(store_time);
            known.extend(states);
        }
        Ok(judge(claims, &self.inner.settings.rules, now, &known))
    }

    /// Reads the revocations of all keys that may have signed a token that does not name its key: see
    /// [`Claims::hides_key`]. Returns none for any other token.
    async fn keys_of(&self, claims: &Claims<'_>) -> Result<Vec<(Target, State)>, Error> {
        if !claims.hides_key() {
            return Ok(Vec::new());
        }
        let lists = (0..self.partitions()).map(|partition| self.listed_keys(partition, claims));
        let listed = try_join_all(lists).await?.concat();
        let records = listed.iter().map(|id| async move { optional(self.get(claims.tenant, id).await) });
        let records = try_join_all(records).await?;
        Ok(records.into_iter().flatten().map(|record| (record.target, record.state)).collect())
    }

    async fn listed_keys(&self, partition: u32, claims: &Claims<'_>) -> Result<Vec<RevocationId>, Error> {
        let list = self.keys().keys_of(claims.tenant, claims.issuer, partition);
        let reply = self.inner.valkey.run(&scripts::KEYS, &[&list], &[]).await?.array()?;
        let id = |value: &Value| -> Result<RevocationId, Error> {
            RevocationId::parse(value.text()?).ok_or(Error::Corrupt("an id in a list is malformed"))
        };
        reply.iter().map(id).collect()
    }

    /// Reads a token's revocation, if it is revoked. One plain GET: exact, without a filter.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::Corrupt`]. Cancel safe.
    pub async fn token_revocation(&self, tenant: &str, token: TokenHash) -> Result<Option<Record>, Error> {
        let record = optional(self.get(tenant, &token.into()).await)?;
        Ok(record.filter(|record| !record.state.undone))
    }

    async fn judge_share(
        &self,
        spans: &Spans,
        partition: u32,
        share: &Share,
        expires: Option<Millis>,
    ) -> Result<(Millis, Vec<(Target, State)>), Error> {
        let (keys, now) = (self.keys(), self.now());
        let token = share.token.as_ref();
        let probes: Vec<_> = match (token, expires) {
            (Some(_), Some(expires)) => spans.buckets.probes(expires, now).collect(),
            (Some(_), None) | (None, _) => Vec::new(),
        };
        let named =
            share.others.iter().map(|(target, id)| (target, id)).chain(token.map(|(target, id, _)| (target, id)));
        let named: Vec<(&Target, &RevocationId)> = named.collect();
        let own: Vec<Key> = std::iter::once(keys.head(partition))
            .chain(named.iter().map(|(target, id)| keys.record(&target.tenant, id, partition)))
            .chain(probes.iter().map(|bucket| keys.filter(*bucket, partition)))
            .collect();
        let item = token.map(|(_, _, hash)| hash.to_string()).unwrap_or_default();
        let names: Vec<String> = probes.iter().map(ToString::to_string).collect();
        let mut args = vec![
            Arg::from(share.others.len() as u64),
            (&item).into(),
            spans.generation_of(now).into(),
            spans.generation.into(),
        ];
        args.extend(names.iter().map(Arg::from));
        let sent = Instant::now();
        let reply = self.inner.valkey.run(&scripts::CHECK, &own.iter().collect::<Vec<_>>(), &args).await?.array()?;
        let (now, records) = reply.split_first().ok_or(Error::Corrupt("an empty reply"))?;
        if records.len() != named.len() {
            return Err(Error::Corrupt("a reply of another length"));
        }
        let mut known = Vec::new();
        for ((target, id), value) in named.into_iter().zip(records) {
            if !value.is_nil() {
                let record = codec::record(value.text()?, &target.tenant, id)?;
                known.push((target.clone(), record.state));
            }
        }
        Ok((self.observe_time(sent, now)?, known))
    }
}
