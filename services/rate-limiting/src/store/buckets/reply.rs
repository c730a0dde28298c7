//! Answers of the script; `scripts/decide.lua` describes the bytes.

use super::request::{End, Group, Op};
use crate::domain::Level;
use crate::error::Error;

/// Decision about a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// End of the group.
    pub status: Status,
    /// Cost that is left of a record that was settled.
    pub left: u64,
    /// The server's time, in microseconds.
    pub now: u64,
    /// The buckets, in their order.
    pub buckets: Vec<Found>,
}

/// End of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was done.
    Done,
    /// There was no room, and nothing was charged.
    Refused,
    /// It was done before.
    Replayed,
    /// The record is another request's.
    Conflict,
    /// There is no such record.
    Unknown,
    /// It was settled at another cost: [`Reply::left`].
    Settled,
    /// There is less left of it: [`Reply::left`].
    TooMuch,
    /// It is open, and so much is left: [`Reply::left`].
    Open,
    /// The last refund has this id, and is of another cost. What is left: [`Reply::left`].
    OtherRefund,
    /// More is left of it than was expected: [`Reply::left`].
    Behind,
}

/// A bucket, after what was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found {
    /// Whether there was room.
    pub room: Room,
    /// Whether it was over its capacity before, where it was charged without room.
    pub in_debt: bool,
    /// Its level.
    pub level: Level,
    /// By how much the server's clock is behind the bucket, in microseconds.
    pub ahead: u64,
    /// Where the charge ends, if it was one.
    pub end: End,
    /// Level that settlements have moved so far: given back, or charged where it came to more than the charge.
    pub moved: Level,
    /// Level that was charged, without what was given back of it; of a settlement.
    pub kept: Level,
}

/// Bit of a room: the end of the charge comes after all buckets.
const ENDS_ELSEWHERE: u8 = 4;

/// Whether there was room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// There was none.
    #[default]
    None,
    /// There was.
    Enough,
    /// There was none, and it was charged all the same.
    Overcharged,
    /// There was none, and it was charged up to the bound of what is charged at all.
    PartlyCharged,
}

// === impl Reply ===

impl Reply {
    /// Takes the reply to `group` from the front of `bytes`. Numbers that are out of range spoil this one alone; all of `bytes` are
    /// taken where nobody can tell where the next one begins.
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
            let (found, ends_elsewhere) = Found::read(bytes, reply.now, settles)?;
            reply.buckets.push(found);
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

/// Bytes of the reply to `group` at the front of `bytes`; none if it has no status, or ends before its last bucket begins.
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
    /// Whether the server's time and the buckets come with it.
    fn has_buckets(self) -> bool {
        matches!(self, Status::Done | Status::Refused | Status::Replayed)
    }

    /// Whether what is left of a record comes with it.
    fn has_left(self, settles: bool) -> bool {
        match self {
            Status::Conflict | Status::Unknown => false,
            Status::Done | Status::Refused | Status::Replayed => settles,
            Status::Settled | Status::TooMuch | Status::Open | Status::OtherRefund | Status::Behind => true,
        }
    }

    fn read(bytes: &mut &[u8]) -> Result<Status, Error> {
        Ok(match take::<1>(bytes)? {
            [b'A'] => Status::Done,
            [b'R'] => Status::Refused,
            [b'P'] => Status::Replayed,
            [b'C'] => Status::Conflict,
            [b'N'] => Status::Unknown,
            [b'S'] => Status::Settled,
            [b'X'] => Status::TooMuch,
            [b'O'] => Status::Open,
            [b'I'] => Status::OtherRefund,
            [b'M'] => Status::Behind,
            _ => return Err(Error::Corrupt("a status of no kind")),
        })
    }
}

impl Found {
    /// A bucket, and whether the end of its charge comes after all buckets.
    fn read(bytes: &mut &[u8], now: u64, settles: bool) -> Result<(Found, bool), Error> {
        let [byte] = take(bytes)?;
        let room = match byte & 3 {
            0 => Room::None,
            2 => Room::Overcharged,
            3 => Room::PartlyCharged,
            _ => Room::Enough,
        };
        let (level, ahead, in_debt) = (level(bytes)?, number(bytes)?, byte & 8 > 0);
        let end = End { place: Level { micros: now + ahead + level.micros, part: level.part }, era: 0 };
        let mut found = Found { room, in_debt, level, ahead, end, moved: Level::EMPTY, kept: Level::EMPTY };
        if settles {
            (found.moved, found.kept) = (self::level(bytes)?, self::level(bytes)?);
        }
        Ok((found, byte & ENDS_ELSEWHERE > 0))
    }
}

fn level(bytes: &mut &[u8]) -> Result<Level, Error> {
    Ok(Level { micros: number(bytes)?, part: number(bytes)? })
}

/// All numbers here are below 2^53.
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
