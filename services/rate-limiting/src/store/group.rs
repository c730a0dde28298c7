//! What the script is asked, and what it answers; `scripts/decide.lua` describes the bytes.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::quality::RandomState;
use keyplane_valkey::{Arg, Key};

use crate::domain::{Level, Meter};
use crate::error::Error;

/// Buckets of one owner, about which one thing is decided: all or nothing.
#[derive(Clone, Debug)]
pub struct Group {
    /// What is to be done.
    pub op: Op,
    /// The record of the charge.
    pub record: Option<Key>,
    /// The buckets.
    pub buckets: Vec<Bucket>,
}

/// What is to be done with the buckets of a group.
#[derive(Clone, Debug)]
pub enum Op {
    /// Charge all, or none; with a record, once.
    Charge(Option<Remember>),
    /// Say what a charge would do.
    Peek,
    /// Give back what has not leaked of a charge; with a record, once every call that was answered by it has given it back.
    Give {
        /// The nonce of the call.
        nonce: [u8; 8],
    },
    /// Take back the newest of what is there, whoever's it is.
    Take,
    /// Settle a record.
    Settle(Settle),
    /// Empty them.
    Delete,
}

/// How a charge is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Remember {
    /// For how long.
    pub ttl: Duration,
    /// Of what request it is.
    pub print: [u8; 16],
    /// Tells this attempt from another of the same request.
    pub nonce: [u8; 8],
    /// What is charged.
    pub cost: u64,
}

/// How a record is settled. The buckets' `add` is the difference to what was left of it.
#[derive(Clone, Copy, Debug)]
pub struct Settle {
    /// Of what request it is.
    pub print: [u8; 16],
    /// What was charged to each bucket.
    pub charged: u64,
    /// What it comes to.
    pub to: Settlement,
    /// Whether the difference is charged; it is given back otherwise, and then the meters are those of the charge.
    pub charges: bool,
}

/// What a record comes to.
#[derive(Clone, Copy, Debug)]
pub enum Settlement {
    /// It cost so much, and that is all.
    Final(u64),
    /// So much of it is given back; under an id that is not zero, once.
    Refund {
        /// How much.
        cost: u64,
        /// The refund's id.
        id: [u8; 8],
    },
    /// So much is left of it, since another owner's record says so.
    Left {
        /// What is left.
        left: u64,
        /// What the buckets' `add` is the difference to.
        from: u64,
    },
    /// Nothing: it is to say what it is.
    Query,
}

/// One bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its key.
    pub key: Key,
    /// Its limit, in numbers.
    pub meter: Meter,
    /// What to add, or to take.
    pub add: Level,
    /// What is done where there is no room.
    pub flag: Flag,
    /// Where its doorbell is; empty for a charge and a peek.
    pub channel: String,
    /// Which charge is given back by [`Op::Give`] without a record.
    pub end: End,
}

/// Where a charge ends in its bucket's queue: by that it is known when a part of it is given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The place.
    pub place: Level,
    /// Of charges of another era nothing is given back.
    pub era: u64,
}

/// What is done where there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// The group is refused.
    Enforce,
    /// It is not charged, and that is all.
    Shadow,
    /// It is charged all the same, up to twice the capacity.
    Force,
    /// The same, but what is in debt (over its capacity) already refuses the group.
    Overshoot,
}

/// What was decided about a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// How it ended.
    pub status: Status,
    /// What is left of a record that was settled.
    pub left: u64,
    /// The server's time, in microseconds.
    pub now: u64,
    /// The buckets, in their order.
    pub buckets: Vec<Found>,
}

/// How it ended.
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
    /// What a settlement has moved so far: given back, or charged where it came to more than the charge.
    pub moved: Level,
    /// What was charged, without what was given back of it; of a settlement.
    pub kept: Level,
}

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

/// Keys and argument of a call of the script.
#[derive(Debug, Default)]
pub(super) struct Call<'a> {
    /// Each once, however many groups name it.
    pub(super) keys: Vec<&'a Key>,
    places: HashMap<&'a str, u16, RandomState>,
    bytes: Vec<u8>,
}

// === impl Call ===

impl<'a> Call<'a> {
    /// A call for several groups.
    pub(super) fn new(groups: impl ExactSizeIterator<Item = &'a Group>) -> Call<'a> {
        let count = groups.len();
        let places = HashMap::with_capacity_and_hasher(count, RandomState::default());
        let mut call = Call { keys: Vec::with_capacity(count), places, bytes: Vec::with_capacity(count * 64) };
        groups.for_each(|group| call.add(group));
        call
    }

    /// `ARGV[1]`.
    pub(super) fn arg(&self) -> Arg<'_> {
        Arg::Bytes(&self.bytes)
    }

    fn add(&mut self, group: &'a Group) {
        // The limits of a call are 16 at most.
        let count = u8::try_from(group.buckets.len()).unwrap_or(u8::MAX);
        let record = group.record.as_ref().map_or(0, |record| self.place(record));
        self.push(&[&[group.op.byte(), count], &record.to_le_bytes()]);
        if record > 0 {
            self.record(&group.op);
        }
        group.buckets.iter().for_each(|bucket| self.bucket(bucket, &group.op));
        if group.op.rings() {
            for channel in group.buckets.iter().map(|bucket| bucket.channel.as_bytes()) {
                self.push(&[&[u8::try_from(channel.len()).unwrap_or(u8::MAX)], channel]);
            }
        }
    }

    /// Which key it is, from 1 on.
    fn place(&mut self, key: &'a Key) -> u16 {
        *self.places.entry(key.as_str()).or_insert_with(|| {
            self.keys.push(key);
            // Of the groups of a call there are a few hundred.
            u16::try_from(self.keys.len()).unwrap_or(u16::MAX)
        })
    }

    fn record(&mut self, op: &Op) {
        match op {
            Op::Charge(Some(remember)) => {
                let ttl = u64::try_from(remember.ttl.as_millis()).unwrap_or(u64::MAX);
                self.push(&[&double(ttl), &remember.print, &remember.nonce, &double(remember.cost)]);
            }
            Op::Give { nonce } => self.push(&[nonce]),
            Op::Settle(settle) => {
                let sign: &[u8] = if settle.charges { b"+" } else { b"-" };
                let (mode, id, cost, from) = match settle.to {
                    Settlement::Final(cost) => (b"f", [0; 8], cost, 0),
                    Settlement::Refund { cost, id } => (b"r", id, cost, 0),
                    Settlement::Left { left, from } => (b"t", [0; 8], left, from),
                    Settlement::Query => (b"q", [0; 8], 0, 0),
                };
                self.push(&[mode, sign, &settle.print, &id, &double(cost), &double(from)]);
            }
            Op::Charge(None) | Op::Peek | Op::Take | Op::Delete => {}
        }
    }

    fn bucket(&mut self, bucket: &'a Bucket, op: &Op) {
        let place = self.place(&bucket.key);
        self.push(&[&place.to_le_bytes(), &[bucket.flag.byte()]]);
        let (add, meter) = (bucket.add, bucket.meter);
        let other = if matches!(op, Op::Give { .. }) { bucket.end.place } else { meter.capacity() };
        let numbers = [add.micros, add.part, other.micros, other.part, meter.n(), meter.p()];
        numbers.iter().for_each(|number| self.push(&[&double(*number)]));
        match op {
            Op::Give { .. } => self.push(&[&double(bucket.end.era)]),
            Op::Settle(settle) => {
                let whole = meter.level(settle.charged);
                self.push(&[&double(whole.micros), &double(whole.part)]);
            }
            Op::Charge(_) | Op::Peek | Op::Take | Op::Delete => {}
        }
    }

    fn push(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }
}

// === impl Op ===

impl Op {
    fn byte(&self) -> u8 {
        match self {
            Op::Charge(_) => b'c',
            Op::Peek => b'p',
            Op::Give { .. } => b'g',
            Op::Take => b't',
            Op::Settle(_) => b's',
            Op::Delete => b'd',
        }
    }

    /// Whether levels may fall by it, so that doorbells ring.
    fn rings(&self) -> bool {
        match self {
            Op::Charge(_) | Op::Peek => false,
            Op::Give { .. } | Op::Take | Op::Settle(_) | Op::Delete => true,
        }
    }
}

// === impl Flag ===

impl Flag {
    fn byte(self) -> u8 {
        match self {
            Flag::Enforce => b'e',
            Flag::Shadow => b's',
            Flag::Force => b'f',
            Flag::Overshoot => b'o',
        }
    }
}

// === impl Reply ===

impl Reply {
    /// The next reply in `bytes`, which is that to `group`.
    pub(super) fn read(bytes: &mut &[u8], group: &Group) -> Result<Reply, Error> {
        let mut reply = Reply { status: Status::read(bytes)?, left: 0, now: 0, buckets: Vec::new() };
        match reply.status {
            Status::Conflict | Status::Unknown => return Ok(reply),
            Status::Settled | Status::TooMuch | Status::Open | Status::OtherRefund | Status::Behind => {
                reply.left = number(bytes)?;
                return Ok(reply);
            }
            Status::Done | Status::Refused | Status::Replayed => {}
        }
        let settles = matches!(group.op, Op::Settle(_));
        if settles {
            reply.left = number(bytes)?;
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

impl Status {
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
        Ok((found, byte & 4 > 0))
    }
}

/// All numbers here are below 2^53.
pub(super) fn double(number: u64) -> [u8; 8] {
    (number as f64).to_le_bytes()
}

fn level(bytes: &mut &[u8]) -> Result<Level, Error> {
    Ok(Level { micros: number(bytes)?, part: number(bytes)? })
}

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
