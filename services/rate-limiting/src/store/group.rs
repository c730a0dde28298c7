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
    /// Give back what was charged; with a record, once every call that was answered by it has given it back.
    Give {
        /// The nonce of the call.
        nonce: [u8; 8],
    },
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

/// How a record is settled. The buckets' `add` is the difference to what was charged.
#[derive(Clone, Copy, Debug)]
pub struct Settle {
    /// Of what request it is.
    pub print: [u8; 16],
    /// What it comes to.
    pub to: Settlement,
    /// Whether the difference is charged; it is given back otherwise.
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
}

/// A bucket, after what was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Whether there was room.
    pub room: Room,
    /// Whether it was over its capacity before, where it was charged without room.
    pub in_debt: bool,
    /// Its level.
    pub level: Level,
    /// By how much the server's clock is behind the bucket, in microseconds.
    pub ahead: u64,
}

/// Whether there was room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There was none.
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
        group.buckets.iter().for_each(|bucket| self.bucket(bucket));
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
                match settle.to {
                    Settlement::Final(cost) => self.push(&[b"f", sign, &settle.print, &[0; 8], &double(cost)]),
                    Settlement::Refund { cost, id } => self.push(&[b"r", sign, &settle.print, &id, &double(cost)]),
                }
            }
            Op::Charge(None) | Op::Peek | Op::Delete => {}
        }
    }

    fn bucket(&mut self, bucket: &'a Bucket) {
        let place = self.place(&bucket.key);
        self.push(&[&place.to_le_bytes(), &[bucket.flag.byte()]]);
        let (add, capacity) = (bucket.add, bucket.meter.capacity());
        let numbers = [add.micros, add.part, capacity.micros, capacity.part, bucket.meter.n(), bucket.meter.p()];
        numbers.iter().for_each(|number| self.push(&[&double(*number)]));
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
            Op::Settle(_) => b's',
            Op::Delete => b'd',
        }
    }

    /// Whether levels may fall by it, so that doorbells ring.
    fn rings(&self) -> bool {
        match self {
            Op::Charge(_) | Op::Peek => false,
            Op::Give { .. } | Op::Settle(_) | Op::Delete => true,
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
    /// The next reply in `bytes`, to a group of `count` buckets of which one settles if `settles`.
    pub(super) fn read(bytes: &mut &[u8], group: &Group) -> Result<Reply, Error> {
        let mut reply = Reply { status: Status::read(bytes)?, left: 0, now: 0, buckets: Vec::new() };
        match reply.status {
            Status::Conflict | Status::Unknown => return Ok(reply),
            Status::Settled | Status::TooMuch => {
                reply.left = number(bytes)?;
                return Ok(reply);
            }
            Status::Done | Status::Refused | Status::Replayed => {}
        }
        if matches!(group.op, Op::Settle(_)) {
            reply.left = number(bytes)?;
        }
        reply.now = number(bytes)?;
        reply.buckets = group.buckets.iter().map(|_| Found::read(bytes)).collect::<Result<_, _>>()?;
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
            _ => return Err(Error::Corrupt("a status of no kind")),
        })
    }
}

impl Found {
    fn read(bytes: &mut &[u8]) -> Result<Found, Error> {
        let [byte] = take(bytes)?;
        let room = match byte & 3 {
            0 => Room::None,
            2 => Room::Overcharged,
            3 => Room::PartlyCharged,
            _ => Room::Enough,
        };
        let level = Level { micros: number(bytes)?, part: number(bytes)? };
        Ok(Found { room, in_debt: byte & 8 > 0, level, ahead: number(bytes)? })
    }
}

/// All numbers here are below 2^53.
pub(super) fn double(number: u64) -> [u8; 8] {
    (number as f64).to_le_bytes()
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
