//! States that go into the feed again: those that a failover lost, and those that the feed is about to forget.

use std::time::{Duration, Instant};

use keyplane_revocation::{Entry, Millis, Scope};
use keyplane_valkey::{Arg, Key};

use super::{ATTEMPTS, ITEMS, Spans, Store, codec, nonces, scripts};
use crate::error::Error;

/// Keys and arguments of an item.
struct Item {
    record: Key,
    /// `token`, `key`, or neither.
    kind: &'static str,
    /// Filter of a token, or list of an issuer's keys.
    held_in: Option<Key>,
    nonce: String,
    target: String,
    state: String,
    bucket: String,
    until: i64,
    /// Member of `held_in`: a token's hash, or a key's id.
    item: String,
    version: u64,
    expires: i64,
}

// === impl Store ===

impl Store {
    /// Writes entries of `partition` again, unless the store has them, or later ones of their targets, or they have
    /// expired. Entries of other partitions are left out. Returns the number of writes. Idempotent; a call of the
    /// script for each 64.
    ///
    /// Dropped or failed half-way, some are written.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::NoRandomness`].
    pub async fn merge(&self, partition: u32, entries: &[Entry]) -> Result<u64, Error> {
        self.append_again(partition, entries, None).await
    }

    /// Merges entries as [`Store::merge`] does, and appends to the feed again those that the store has, if their last
    /// copy in the feed is `age` old or more. Meant for entries that outlast
    /// [`Settings::retention`](super::Settings::retention).
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::NoRandomness`].
    pub async fn refresh(&self, partition: u32, entries: &[Entry], age: Duration) -> Result<u64, Error> {
        self.append_again(partition, entries, Some(age)).await
    }

    async fn append_again(&self, partition: u32, entries: &[Entry], age: Option<Duration>) -> Result<u64, Error> {
        let own: Vec<&Entry> = entries.iter().filter(|entry| self.partition(&entry.target.id()) == partition).collect();
        let mut count = 0;
        for chunk in own.chunks(ITEMS) {
            count += self.append_chunk(partition, chunk, age).await?;
        }
        Ok(count)
    }

    async fn append_chunk(&self, partition: u32, entries: &[&Entry], age: Option<Duration>) -> Result<u64, Error> {
        let spans = self.spans();
        let age = age.map_or_else(String::new, |age| age.as_millis().to_string());
        for _ in 0..ATTEMPTS {
            let now = self.now();
            let generation = spans.generation_of(now);
            let items = self.copies(partition, entries, spans, now)?;
            let (head, feed) = (self.keys().head(partition), self.keys().feed(partition));
            let mut keys = vec![&head, &feed];
            let mut args = spans.common(items.len(), generation).to_vec();
            args.push((&age).into());
            for item in &items {
                keys.extend([&item.record, item.held_in.as_ref().unwrap_or(&head)]);
                args.extend([
                    Arg::from(&item.nonce),
                    (&item.target).into(),
                    item.kind.into(),
                    item.version.into(),
                    (&item.state).into(),
                    item.expires.into(),
                    (&item.bucket).into(),
                    item.until.into(),
                    (&item.item).into(),
                ]);
            }
            let sent = Instant::now();
            let reply = self.inner.valkey.run(&scripts::MERGE, &keys, &args).await?;
            if let Some(reply) = self.accept(sent, reply)? {
                return codec::count(reply.get(2).ok_or(Error::Corrupt("a reply of another length"))?);
            }
        }
        Err(super::jumped())
    }

    fn copies(&self, partition: u32, entries: &[&Entry], spans: &Spans, now: Millis) -> Result<Vec<Item>, Error> {
        let keys = self.keys();
        let item = |(entry, nonce): (&&Entry, String)| {
            let (tenant, id) = (&entry.target.tenant, entry.target.id());
            let (kind, item, bucket, held_in) = match &entry.target.scope {
                Scope::Token(hash) => {
                    let bucket = spans.buckets.bucket_of(entry.state.token_expires, now);
                    ("token", hash.to_string(), Some(bucket), Some(keys.filter(bucket, partition)))
                }
                Scope::Key { issuer, .. } => {
                    ("key", id.to_string(), None, Some(keys.keys_of(tenant, issuer, partition)))
                }
                Scope::Session(_) | Scope::Subject { .. } | Scope::Client(_) | Scope::Tenant => {
                    ("", String::new(), None, None)
                }
            };
            Item {
                record: keys.record(tenant, &id, partition),
                kind,
                held_in,
                nonce,
                target: entry.target.encode(),
                state: entry.state.encode(),
                bucket: bucket.map(|bucket| bucket.to_string()).unwrap_or_default(),
                until: bucket.map_or(0, |bucket| spans.buckets.until(bucket).0),
                item,
                version: entry.version.0,
                expires: entry.state.expires.0,
            }
        };
        Ok(entries.iter().zip(nonces(entries.len())?).map(item).collect())
    }
}
