//! Handover from instances that saw the store lose revocations to instances that did not know them.

use std::fmt;
use std::time::Duration;

use keyplane_revocation::{Handover, Millis, Version};
use keyplane_valkey::{Arg, Feature, Ttl};

use super::{Store, codec, scripts};
use crate::error::Error;

/// Size of one part, in bytes.
const PART: usize = 256 * 1024;
/// Time to hand over all parts. What failed half-way takes memory for as long.
const HALF_WAY: Duration = Duration::from_mins(10);

/// Names what an instance handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The version up to which the giver knew all of the partition.
    pub upto: Version,
    /// Until when it is needed.
    pub until: Millis,
    parts: usize,
    giver: String,
}

// === impl Store ===

impl Store {
    /// Keeps what `giver` hands over of a partition, of which it knew everything up to the version `upto`, unless the store
    /// has what another one handed over that knew as much. One giver hands one thing over at a time. Whether it is kept.
    ///
    /// Dropped or failed half-way, some of it is kept for ten minutes, and nobody finds it.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn hand_over(
        &self,
        partition: u32,
        giver: &str,
        upto: Version,
        handover: &Handover,
    ) -> Result<bool, Error> {
        let before = self.handed_over(partition).await?;
        if before.as_ref().is_some_and(|before| before.upto >= upto) {
            return Ok(false);
        }
        let (keys, valkey) = (self.keys(), &self.inner.valkey);
        let lost = keys.lost(giver, partition);
        let chunks = handover.bytes.chunks(PART);
        let named = Lost { upto, until: handover.until, parts: chunks.len(), giver: giver.to_owned() };
        let now = self.now();
        let left = u64::try_from(handover.until.0.saturating_sub(now.0)).unwrap_or_default();
        Ttl::new(Feature::REVOCATION, Duration::from_millis(left))?;
        let half_way = Ttl::new(Feature::REVOCATION, HALF_WAY)?.as_millis();
        for (number, chunk) in (0u64..).zip(chunks) {
            let args = [Arg::from(number), chunk.into(), half_way.into()];
            valkey.run(&scripts::LOST_PART, &[&lost], &args).await?;
        }
        let (head, text) = (self.head_key(partition), named.to_string());
        let old = before.as_ref().map_or_else(|| head.clone(), |before| keys.lost(&before.giver, partition));
        let old_text = before.map(|before| before.to_string()).unwrap_or_default();
        let head_kept = self.spans().head;
        let args = [upto.0.into(), (&text).into(), (&old_text).into(), head_kept.into(), handover.until.0.into()];
        let reply = valkey.run(&scripts::LOST, &[&head, &lost, &old], &args).await?.array()?;
        Ok(reply.first().is_some_and(|status| status.text().is_ok_and(|status| status == "OK")))
    }

    /// Handover of a partition by the instance that knew most.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn handed_over(&self, partition: u32) -> Result<Option<Lost>, Error> {
        let fields = self.inner.valkey.hmget(&self.head_key(partition), &[Lost::FIELD]).await?;
        Ok(fields.first().and_then(Option::as_ref).and_then(|text| Lost::parse(text)))
    }

    /// Reads what was handed over; `None` if it is not there any more.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn take_over(&self, partition: u32, lost: &Lost) -> Result<Option<Vec<u8>>, Error> {
        let key = self.keys().lost(&lost.giver, partition);
        let mut bytes = Vec::new();
        for number in 0..lost.parts {
            let part = self.inner.valkey.hmget(&key, &[&number.to_string()]).await?;
            let Some(part) = part.into_iter().next().flatten() else { return Ok(None) };
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes))
    }
}

// === impl Lost ===

impl Lost {
    /// The field of a partition's head that names what was handed over.
    pub const FIELD: &str = "l";

    /// Reads that field. `None` if this program did not write it: then there is nothing to be taken over.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Lost> {
        let mut parts = codec::text(text).ok()?.splitn(4, ';');
        Some(Lost {
            upto: Version::parse(parts.next()?)?,
            until: Millis(parts.next()?.parse().ok()?),
            parts: parts.next()?.parse().ok()?,
            giver: parts.next()?.to_owned(),
        })
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lost { upto, until, parts, giver } = self;
        write!(f, "{upto};{until};{parts};{giver}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let lost = Lost { upto: Version(17), until: Millis(9), parts: 2, giver: "h-1-abcd.3".into() };
        assert_eq!(Lost::parse(lost.to_string().as_bytes()), Some(lost));
        for text in ["", "17", "17;9;2", "x;9;2;h", "17;9;-1;h", "17;;2;h"] {
            assert_eq!(Lost::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
