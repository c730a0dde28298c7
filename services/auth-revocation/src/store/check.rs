//! Whether a token is revoked, from the primaries.

use std::time::Instant;

use futures::future::{try_join, try_join_all};
use keyplane_revocation::{Answer, Claims, Millis, RevocationId, Scope, State, Target, TokenHash, judge};
use keyplane_valkey::{Arg, Key, Value};

use super::{Spans, Store, codec, scripts};
use crate::domain::Record;
use crate::error::Error;

/// What a token may be revoked by in one partition.
#[derive(Default)]
struct Share {
    others: Vec<(Target, RevocationId)>,
    token: Option<(Target, RevocationId, TokenHash)>,
}

/// Record that was read, if it is there.
fn found(read: Result<Record, Error>) -> Result<Option<Record>, Error> {
    match read {
        Ok(record) => Ok(Some(record)),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

// === impl Store ===

impl Store {
    /// Judges a token by all that the store has: a script for each partition that has a share in it, all at the same time;
    /// where the token does not say which key signed it, also the revoked keys of its issuer. Exact: never [`Answer::Suspect`].
    /// Time is the store's; of several nodes', the latest.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn judge(&self, claims: &Claims<'_>) -> Result<Answer, Error> {
        let spans = self.spans();
        let mut shares: Vec<(u32, Share)> = Vec::new();
        for target in claims.targets() {
            let id = target.id();
            let partition = self.partition(&id);
            let index = shares.iter().position(|(of, _)| *of == partition).unwrap_or_else(|| {
                shares.push((partition, Share::default()));
                shares.len() - 1
            });
            let share = &mut shares[index].1;
            match target.scope {
                Scope::Token(hash) => share.token = Some((target, id, hash)),
                Scope::Session(_) | Scope::Subject { .. } | Scope::Client(_) | Scope::Key { .. } | Scope::Tenant => {
                    share.others.push((target, id));
                }
            }
        }
        let asked = shares.iter().map(|(partition, share)| self.ask(spans, *partition, share, claims.expires));
        // Boxed: what few tokens need must not make the others' checks large.
        let (answers, mut known) = try_join(try_join_all(asked), Box::pin(self.keys_of(claims))).await?;
        let mut now = Millis(i64::MIN);
        for (heard, states) in answers {
            now = now.max(heard);
            known.extend(states);
        }
        Ok(judge(claims, &self.inner.settings.rules, now, &known))
    }

    /// The revocations of all keys that may have signed a token that does not say which: see [`Claims::hides_key`]. Of any
    /// other token there are none to ask for.
    async fn keys_of(&self, claims: &Claims<'_>) -> Result<Vec<(Target, State)>, Error> {
        if !claims.hides_key() {
            return Ok(Vec::new());
        }
        let lists = (0..self.partitions()).map(|partition| self.listed(partition, claims));
        let listed = try_join_all(lists).await?.concat();
        let records = listed.iter().map(|id| async move { found(self.get(claims.tenant, id).await) });
        let records = try_join_all(records).await?;
        Ok(records.into_iter().flatten().map(|record| (record.target, record.state)).collect())
    }

    async fn listed(&self, partition: u32, claims: &Claims<'_>) -> Result<Vec<RevocationId>, Error> {
        let list = self.keys().keys_of(claims.tenant, claims.issuer, partition);
        let reply = self.inner.valkey.run(&scripts::KEYS, &[&list], &[]).await?.array()?;
        let id = |value: &Value| -> Result<RevocationId, Error> {
            RevocationId::parse(value.text()?).ok_or(Error::Corrupt("an id in a list is malformed"))
        };
        reply.iter().map(id).collect()
    }

    /// A token's revocation, if it is revoked. One plain GET: exact, and no filter is asked.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn token_revocation(&self, tenant: &str, token: TokenHash) -> Result<Option<Record>, Error> {
        let record = found(self.get(tenant, &token.into()).await)?;
        Ok(record.filter(|record| !record.state.undone))
    }

    async fn ask(
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
        Ok((self.heard_time(sent, now)?, known))
    }
}
