//! Decodes replies of the script; `scripts/decide.lua` describes the bytes.

use super::request::{End, Group, Op};
use crate::domain::Level;
use crate::error::Error;

/// Decision on a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Status of the group.
    pub status: Status,
    /// Cost left of a settled record.
    pub left: u64,
    /// Time of the server, in microseconds.
    pub now: u64,
    /// State of each bucket, in the group's order.
    pub buckets: Vec<BucketState>,
}

/// Status of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Operation was done.
    Done,
    /// Room was missing, and nothing was charged.
    Denied,
    /// Operation was done before.
    Replayed,
    /// Record belongs to another request.
    Conflict,
    /// Record does not exist.
    Unknown,
    /// Record was settled at another cost: [`Reply::left`].
    Settled,
    /// Refund exceeds the cost that is left: [`Reply::left`].
    TooMuch,
    /// Record is open, with this cost left: [`Reply::left`].
    Open,
    /// Last refund has this id and another cost; the cost left: [`Reply::left`].
    OtherRefund,
    /// More is left than the caller expected: [`Reply::left`].
    Behind,
}

/// State of a bucket after the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BucketState {
    /// Room for the charge.
    pub room: Room,
    /// True if the bucket was over its capacity before a charge without room.
    pub in_debt: bool,
    /// Level of the bucket.
    pub level: Level,
    /// Lag of the server's clock behind the bucket, in microseconds.
    pub ahead: u64,
    /// End of the charge in the queue of the bucket.
    pub end: End,
    /// Level that settlements have given back or, for a cost beyond the charge, charged.
    pub moved: Level,
    /// Level of the settled charge without the part that was given back.
    pub kept: Level,
}

/// Bit of a room byte: the end of the charge follows after all buckets.
const ENDS_ELSEWHERE: u8 = 4;

/// Room for a charge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// Room for nothing.
    #[default]
    None,
    /// Enough room.
    Enough,
    /// Room for nothing; the charge was forced.
    Overcharged,
    /// Room for nothing; the charge was forced up to the bound of a debt.
    PartlyCharged,
}

// === impl Reply ===

impl Reply {
    /// Takes the reply to `group` from the front of `bytes`. Numbers out of range fail this reply alone; where the start of the next
    /// reply is unknown, all of `bytes` are taken.
    pub(super) fn read(bytes: &mut &[u8], group: &Group) -> Result<Reply, Error> {
        let whole = length(bytes, group).and_then(|length| bytes.split_at_checked(length));
        let (own, rest) = whole.unwrap_or_default();
        *bytes = rest;
        Reply::read_alone(own, group)
    }

    fn read_alone(mut bytes: &[u8], group: &Group) -> Result<Reply, Error> {
        let (bytes, settles) = (&mut bytes, matches!(group.op, Op::Settle(_)));
        let mut reply = Reply { status: Status::read(bytes)?, left: 0, now: 0, buckets: Vec::new() };
        if reply.status.has_left(settles) {
            reply.left = number(bytes)?;
        }
        if !reply.status.has_buckets() {
            return Ok(reply);
        }
        reply.now = number(bytes)?;
        reply.buckets.reserve_exact(group.buckets.len());
        let mut elsewhere = Vec::new();
        for index in 0..group.buckets.len() {
            let (bucket, ends_elsewhere) = BucketState::read(bytes, reply.now, settles)?;
            reply.buckets.push(bucket);
            if ends_elsewhere {
                elsewhere.push(index);
            }
        }
        for index in elsewhere {
            reply.buckets[index].end = End { place: level(bytes)?, era: number(bytes)? };
        }
        Ok(reply)
    }
}

/// Length of the reply to `group` at the front of `bytes`; none without a status, or if it ends before its last bucket begins.
fn length(bytes: &[u8], group: &Group) -> Option<usize> {
    let (status, settles) = (Status::read(&mut &*bytes).ok()?, matches!(group.op, Op::Settle(_)));
    let head = if status.has_left(settles) { 9 } else { 1 };
    if !status.has_buckets() {
        return Some(head);
    }
    let (head, each) = (head + 8, if settles { 57 } else { 25 });
    let rooms = (0..group.buckets.len()).map(|index| bytes.get(head + each * index));
    let ends = rooms.map(|room| Some(if room? & ENDS_ELSEWHERE > 0 { 24 } else { 0 })).sum::<Option<usize>>()?;
    Some(head + each * group.buckets.len() + ends)
}

impl Status {
    /// Returns whether the time and the buckets follow.
    fn has_buckets(self) -> bool {
        matches!(self, Status::Done | Status::Denied | Status::Replayed)
    }

    /// Returns whether the cost left of a record follows.
    fn has_left(self, settles: bool) -> bool {
        match self {
            Status::Conflict | Status::Unknown => false,
            Status::Done | Status::Denied | Status::Replayed => settles,
            Status::Settled | Status::TooMuch | Status::Open | Status::OtherRefund | Status::Behind => true,
        }
    }

    fn read(bytes: &mut &[u8]) -> Result<Status, Error> {
        Ok(match take::<1>(bytes)? {
            [b'A'] => Status::Done,
            [b'R'] => Status::Denied,
            [b'P'] => Status::Replayed,
            [b'C'] => Status::Conflict,
            [b'N'] => Status::Unknown,
            [b'S'] => Status::Settled,
            [b'X'] => Status::TooMuch,
            [b'O'] => Status::Open,
            [b'I'] => Status::OtherRefund,
            [b'M'] => Status::Behind,
            _ => return Err(Error::Corrupt("an unknown status of a reply")),
        })
    }
}

impl BucketState {
    /// Reads a bucket; true if the end of its charge follows after all buckets.
    fn read(bytes: &mut &[u8], now: u64, settles: bool) -> Result<(BucketState, bool), Error> {
        let [byte] = take(bytes)?;
        let room = match byte & 3 {
            0 => Room::None,
            2 => Room::Overcharged,
            3 => Room::PartlyCharged,
            _ => Room::Enough,
        };
        let (level, ahead, in_debt) = (level(bytes)?, number(bytes)?, byte & 8 > 0);
        let end = End { place: Level { micros: now + ahead + level.micros, part: level.part }, era: 0 };
        let mut bucket = BucketState { room, in_debt, level, ahead, end, moved: Level::EMPTY, kept: Level::EMPTY };
        if settles {
            (bucket.moved, bucket.kept) = (self::level(bytes)?, self::level(bytes)?);
        }
        Ok((bucket, byte & ENDS_ELSEWHERE > 0))
    }
}

fn level(bytes: &mut &[u8]) -> Result<Level, Error> {
    Ok(Level { micros: number(bytes)?, part: number(bytes)? })
}

/// Reads a number; all are below 2^53.
pub(super) fn number(bytes: &mut &[u8]) -> Result<u64, Error> {
    let number = f64::from_le_bytes(take(bytes)?);
    let whole = number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&number);
    if whole { Ok(number as u64) } else { Err(Error::Corrupt("a number out of range")) }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Error> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(Error::Corrupt("an answer that ends early"))?;
    *bytes = rest;
    Ok(*taken)
}
