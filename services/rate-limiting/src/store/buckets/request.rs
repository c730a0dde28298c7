//! Questions to the script; `scripts/decide.lua` describes the bytes.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::quality::RandomState;
use keyplane_valkey::{Arg, Key};

use crate::domain::{Level, Meter};
use crate::store::{BucketKey, RecordKey};

/// Buckets of one owner, about which one thing is decided: all or nothing.
#[derive(Clone, Debug)]
pub struct Group {
    /// What is to be done.
    pub op: Op,
    /// The record of the charge.
    pub record: Option<RecordKey>,
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

/// Settlement of a record. The buckets' `add` is the difference to what was left of it.
#[derive(Clone, Debug)]
pub struct Settle {
    /// Of what request it is.
    pub print: [u8; 16],
    /// Cost that was charged to each bucket.
    pub charged: u64,
    /// Meters at the time of the charge, in the order of the buckets.
    pub then: Vec<Meter>,
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
        /// Cost that is left.
        left: u64,
        /// Cost that the buckets' `add` is the difference to.
        from: u64,
    },
    /// Nothing: it is to say what it is.
    Query,
}

/// One bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its key.
    pub key: BucketKey,
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
    /// The bucket's era: of charges of another one nothing is given back.
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
    /// It is charged like [`Flag::Force`], but a bucket in debt (over its capacity) refuses the group.
    Overshoot,
}

/// Keys and argument of a call of the script.
#[derive(Debug, Default)]
pub(super) struct ScriptCall<'a> {
    /// Each once, however many groups name it.
    pub(super) keys: Vec<&'a Key>,
    places: HashMap<&'a str, u16, RandomState>,
    bytes: Vec<u8>,
}

// === impl ScriptCall ===

impl<'a> ScriptCall<'a> {
    /// A call for several groups.
    pub(super) fn new(groups: impl ExactSizeIterator<Item = &'a Group>) -> ScriptCall<'a> {
        let count = groups.len();
        let places = HashMap::with_capacity_and_hasher(count, RandomState::default());
        let mut call = ScriptCall { keys: Vec::with_capacity(count), places, bytes: Vec::with_capacity(count * 64) };
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
        let record = group.record.as_ref().map_or(0, |record| self.place(&record.0));
        self.push(&[&[group.op.byte(), count], &record.to_le_bytes()]);
        if record > 0 {
            self.record(&group.op);
        }
        if let Op::Settle(settle) = &group.op {
            for (bucket, then) in group.buckets.iter().zip(&settle.then) {
                self.bucket(bucket, &group.op);
                self.charged(then.level(settle.charged), then.n());
            }
        } else {
            group.buckets.iter().for_each(|bucket| self.bucket(bucket, &group.op));
        }
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
        let place = self.place(&bucket.key.0);
        self.push(&[&place.to_le_bytes(), &[bucket.flag.byte()]]);
        let (add, meter) = (bucket.add, bucket.meter);
        let other = if matches!(op, Op::Give { .. }) { bucket.end.place } else { meter.capacity() };
        let numbers = [add.micros, add.part, other.micros, other.part, meter.n(), meter.p()];
        numbers.iter().for_each(|number| self.push(&[&double(*number)]));
        if matches!(op, Op::Give { .. }) {
            self.push(&[&double(bucket.end.era)]);
        }
    }

    /// A charge that is settled: its level, whose part is over `n`.
    fn charged(&mut self, level: Level, n: u64) {
        self.push(&[&double(level.micros), &double(level.part), &double(n)]);
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

/// All numbers here are below 2^53.
pub(super) fn double(number: u64) -> [u8; 8] {
    (number as f64).to_le_bytes()
}
