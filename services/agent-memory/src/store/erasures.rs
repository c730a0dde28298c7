//! Jobs of erasures, and the receipts that they become.

use std::time::Duration;

use bytes::Bytes;
use keyplane_contracts::names::TenantId;
use keyplane_valkey::{Arg, Feature, Key, Value, script};

use super::RecordName;
use super::Store;
use super::keys::{OwnerKeys, segment};
use crate::domain::Owner;
use crate::domain::erasure::{Erasure, ErasureId, Pseudonym, Removed, Subject};
use crate::error::Error;

script!(CLAIM = "memory.claim_erasures", ["scripts/claim.lua"]);
script!(SCHEDULE = "memory.schedule_erasure", ["scripts/erasure_schedule.lua"]);
script!(WRITE = "memory.write_erasure", ["scripts/erasure_write.lua"]);
script!(WIPE = "memory.wipe_owner", ["scripts/wipe_owner.lua"]);

/// Life of a receipt, and of a job that never ends: the longest of the feature.
const LIFE: Duration = Duration::from_secs(800 * 24 * 60 * 60);

// === impl Store ===

/// Keys:
///
/// | key | holds |
/// |---|---|
/// | `<app>:memory:{<tenant>:erasures}:<id>` | job, then receipt (hash): `k` kind, `s` subject while it runs, `p` pseudonym, `b` start, `f` end, numbers `m` `d` `e` |
/// | `<app>:memory:{~:erasures}` | `<tenant> <id>` of running jobs, by their next attempt in ms (zset) |
impl Store {
    /// Records a job, and makes it due at once. The job is listed before it is written, so that none is lost.
    ///
    /// # Errors
    ///
    /// Error of the store; the job may or may not run then.
    pub async fn open_erasure(&self, tenant: &TenantId, erasure: &Erasure) -> Result<(), Error> {
        self.schedule_erasure(tenant, erasure.id, Duration::from_secs(60)).await?;
        let subject = erasure.subject.as_ref().map(ToString::to_string).unwrap_or_default();
        let started = erasure.started.to_string();
        let fields = ["k", &erasure.kind, "p", erasure.pseudonym.as_str(), "b", &started, "s", &subject];
        self.write_erasure(tenant, erasure.id, "OPEN", &fields).await?;
        self.schedule_erasure(tenant, erasure.id, Duration::ZERO).await
    }

    /// Job or receipt; none if it does not exist.
    ///
    /// # Errors
    ///
    /// Error of the store, or a receipt that this service never writes.
    pub async fn erasure(&self, tenant: &TenantId, id: ErasureId) -> Result<Option<Erasure>, Error> {
        let fields = ["k", "p", "b", "s", "f", "m", "d", "e"];
        let values = self.valkey.hmget(&self.erasure_key(tenant, id), &fields).await?;
        let text = |at: usize| values.get(at).and_then(Option::as_ref).map(text).transpose();
        let (Some(kind), Some(pseudonym), Some(started)) = (text(0)?, text(1)?, text(2)?) else { return Ok(None) };
        let number = |text: Option<&str>| text.map(|text| text.parse::<i64>().map_err(|_| DAMAGED)).transpose();
        let count = |at: usize| Ok::<_, Error>(number(text(at)?)?.and_then(|count| count.try_into().ok()).unwrap_or(0));
        Ok(Some(Erasure {
            id,
            kind: kind.to_owned(),
            subject: text(3)?.map(|subject| Subject::parse(subject).ok_or(DAMAGED)).transpose()?,
            pseudonym: Pseudonym::stored(pseudonym),
            started: number(Some(started))?.ok_or(DAMAGED)?,
            finished: number(text(4)?)?,
            removed: Removed { memories: count(5)?, summaries: count(6)?, embeddings: count(7)? },
        }))
    }

    /// Claims at most `count` jobs that are due; a job that is not concluded is due again after `lease`.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn claim_erasures(&self, count: u32, lease: Duration) -> Result<Vec<(TenantId, ErasureId)>, Error> {
        let args = [Arg::from(count), Arg::from(millis(lease))];
        let members = self.valkey.run(&CLAIM, &[&self.erasures_key()], &args).await?.array()?;
        let member = |value: &Value| {
            let (tenant, id) = value.text()?.split_once(' ').ok_or(DAMAGED)?;
            let tenant = TenantId::parse(tenant, "tenant").map_err(|_| DAMAGED)?;
            Ok((tenant, ErasureId::parse(id).ok_or(DAMAGED)?))
        };
        members.iter().map(member).collect()
    }

    /// Adds to the numbers of a job, and keeps other instances away for another `lease`.
    ///
    /// # Errors
    ///
    /// Error of the store. Not safe to repeat: a number would grow twice.
    pub async fn count_erasure(
        &self,
        tenant: &TenantId,
        id: ErasureId,
        removed: Removed,
        lease: Duration,
    ) -> Result<(), Error> {
        self.schedule_erasure(tenant, id, lease).await?;
        let numbers = [removed.memories, removed.summaries, removed.embeddings];
        let [memories, summaries, embeddings] = numbers.map(|number| number.to_string());
        let fields = ["m", &memories, "d", &summaries, "e", &embeddings];
        self.write_erasure(tenant, id, "COUNT", &fields).await
    }

    /// Makes a receipt of a job: its subject goes.
    ///
    /// # Errors
    ///
    /// Error of the store. Safe to repeat; the first end stays.
    pub async fn close_erasure(&self, tenant: &TenantId, id: ErasureId, now: i64) -> Result<(), Error> {
        self.write_erasure(tenant, id, "CLOSE", &[&now.to_string()]).await?;
        self.unschedule_erasure(tenant, id).await
    }

    /// Takes a job off the list: it is concluded, or was never written.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn unschedule_erasure(&self, tenant: &TenantId, id: ErasureId) -> Result<(), Error> {
        self.valkey.run(&SCHEDULE, &[&self.erasures_key()], &[Arg::from(&member(tenant, id)), Arg::Int(-1)]).await?;
        Ok(())
    }

    /// Removes what is left of `owner` when its memories are gone: records, each with the number of items that are left in it
    /// without a memory, the marks of recalled texts, and with `all` the directory. False if a record has another number of items
    /// now; nothing was removed then.
    ///
    /// # Errors
    ///
    /// Error of the store. Safe to repeat.
    pub async fn wipe(&self, owner: &Owner, records: &[(RecordName, usize)], all: bool) -> Result<bool, Error> {
        let keys = OwnerKeys::new(self.valkey.app(), owner);
        let mut names = vec![keys.directory(), keys.partition().owners(), keys.subjects(), keys.seen()];
        names.extend(records.iter().map(|(record, _)| keys.record(record)));
        let mut args = vec![Arg::from(segment(owner)), Arg::Int(i64::from(all))];
        let fields: Vec<String> = records.iter().map(|(record, _)| format!("s:{record}")).collect();
        for (field, (_, items)) in fields.iter().zip(records) {
            args.extend([Arg::from(field), Arg::Int(i64::try_from(*items).unwrap_or(i64::MAX))]);
        }
        let names: Vec<&Key> = names.iter().collect();
        Ok(self.valkey.run(&WIPE, &names, &args).await?.int()? == 1)
    }

    async fn schedule_erasure(&self, tenant: &TenantId, id: ErasureId, delay: Duration) -> Result<(), Error> {
        let member = member(tenant, id);
        let args = [Arg::from(&member), Arg::from(millis(delay)), Arg::from(millis(LIFE))];
        self.valkey.run(&SCHEDULE, &[&self.erasures_key()], &args).await?;
        Ok(())
    }

    async fn write_erasure(&self, tenant: &TenantId, id: ErasureId, verb: &str, rest: &[&str]) -> Result<(), Error> {
        let life = millis(LIFE);
        let mut args = vec![Arg::from(verb), Arg::from(life)];
        args.extend(rest.iter().map(|argument| Arg::from(*argument)));
        self.valkey.run(&WRITE, &[&self.erasure_key(tenant, id)], &args).await?;
        Ok(())
    }

    fn erasure_key(&self, tenant: &TenantId, id: ErasureId) -> Key {
        Key::tagged(self.valkey.app(), Feature::MEMORY, tenant.as_str(), "erasures", &[&id.to_string()])
    }

    fn erasures_key(&self) -> Key {
        Key::tagged(self.valkey.app(), Feature::MEMORY, "~", "erasures", &[])
    }
}

const DAMAGED: Error = Error::Corrupt("an erasure has another form");

fn member(tenant: &TenantId, id: ErasureId) -> String {
    format!("{} {id}", tenant.as_str())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn text(bytes: &Bytes) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| DAMAGED)
}
