//! Handover from instances that saw the store lose revocations to instances that did not know them.

use std::fmt;
use std::time::Duration;

use keyplane_revocation::{Handover, Millis, Version};
use keyplane_valkey::{Arg, Feature, Ttl};

use super::{Store, codec, scripts};
use crate::error::Error;

/// Longest part, in bytes.
const PART: usize = 256 * 1024;
/// Time to write all parts. Parts of a handover that failed are kept for as long.
const HALF_WAY: Duration = Duration::from_mins(10);

/// Notice of a handover, in the head of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoverNotice {
    /// Version up to which the giver knew all of the partition.
    pub upto: Version,
    /// Moment until which the handover is needed.
    pub until: Millis,
    parts: usize,
    giver: String,
}

// === impl Store ===

impl Store {
    /// Writes what `giver` hands over of a partition, of which it knew everything up to the version `upto`. Returns
    /// `false`, and keeps the other one, if the store has the handover of an instance that knew as much. A giver makes
    /// one handover of a partition at a time.
    ///
    /// Dropped or failed half-way, it leaves parts that nobody finds, for ten minutes.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::Ttl`].
    pub async fn hand_over(
        &self,
        partition: u32,
        giver: &str,
        upto: Version,
        handover: &Handover,
    ) -> Result<bool, Error> {
        let known = self.feed_head(partition).await?.handover;
        if known.as_ref().is_some_and(|known| known.upto >= upto) {
            return Ok(false);
        }
        let (keys, valkey) = (self.keys(), &self.inner.valkey);
        let lost = keys.lost(giver, partition);
        let chunks = handover.bytes.chunks(PART);
        let notice = HandoverNotice { upto, until: handover.until, parts: chunks.len(), giver: giver.to_owned() };
        let now = self.now();
        let left = u64::try_from(handover.until.0.saturating_sub(now.0)).unwrap_or_default();
        Ttl::new(Feature::REVOCATION, Duration::from_millis(left))?;
        let half_way = Ttl::new(Feature::REVOCATION, HALF_WAY)?.as_millis();
        for (number, chunk) in (0u64..).zip(chunks) {
            let args = [Arg::from(number), chunk.into(), half_way.into()];
            valkey.run(&scripts::LOST_PART, &[&lost], &args).await?;
        }
        let (head, text) = (keys.head(partition), notice.to_string());
        let old = known.as_ref().map_or_else(|| head.clone(), |known| keys.lost(&known.giver, partition));
        let old_text = known.map(|known| known.to_string()).unwrap_or_default();
        let head_kept = self.spans().head;
        let args = [upto.0.into(), (&text).into(), (&old_text).into(), head_kept.into(), handover.until.0.into()];
        let reply = valkey.run(&scripts::LOST, &[&head, &lost, &old], &args).await?.array()?;
        Ok(reply.first().is_some_and(|status| status.text().is_ok_and(|status| status == "OK")))
    }

    /// Reads a handover; `None` if it has expired, or was replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]. Cancel safe.
    pub async fn take_over(&self, partition: u32, notice: &HandoverNotice) -> Result<Option<Vec<u8>>, Error> {
        let key = self.keys().lost(&notice.giver, partition);
        let mut bytes = Vec::new();
        for number in 0..notice.parts {
            let part = self.inner.valkey.hmget(&key, &[&number.to_string()]).await?;
            let Some(part) = part.into_iter().next().flatten() else { return Ok(None) };
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes))
    }
}

// === impl HandoverNotice ===

impl HandoverNotice {
    /// Field of a partition's head that holds the notice.
    pub(super) const FIELD: &str = "l";

    /// Decodes the notice; `None` if this program did not write it.
    pub(super) fn parse(text: &[u8]) -> Option<HandoverNotice> {
        let mut parts = codec::text(text).ok()?.splitn(4, ';');
        Some(HandoverNotice {
            upto: Version::parse(parts.next()?)?,
            until: Millis(parts.next()?.parse().ok()?),
            parts: parts.next()?.parse().ok()?,
            giver: parts.next()?.to_owned(),
        })
    }
}

impl fmt::Display for HandoverNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HandoverNotice { upto, until, parts, giver } = self;
        write!(f, "{upto};{until};{parts};{giver}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_read_as_it_is_written() {
        let notice = HandoverNotice { upto: Version(17), until: Millis(9), parts: 2, giver: "h-1-abcd.3".into() };
        assert_eq!(HandoverNotice::parse(notice.to_string().as_bytes()), Some(notice));
        for text in ["", "17", "17;9;2", "x;9;2;h", "17;9;-1;h", "17;;2;h"] {
            assert_eq!(HandoverNotice::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
