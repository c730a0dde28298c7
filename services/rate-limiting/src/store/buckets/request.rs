//! Groups of buckets to decide on, and their encoding for the script; `scripts/decide.lua` describes the bytes.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::quality::RandomState;
use keyplane_valkey::{Arg, Key};

use crate::domain::{Level, Meter};
use crate::store::{BucketKey, RecordKey};

/// Buckets of one owner, decided on together: all or nothing.
#[derive(Clone, Debug)]
pub struct Group {
    /// Operation.
    pub op: Op,
    /// Record of the charge.
    pub record: Option<RecordKey>,
    /// Buckets.
    pub buckets: Vec<Bucket>,
}

/// Operation on the buckets of a group.
#[derive(Clone, Debug)]
pub enum Op {
    /// Charges all, or none; with a record, once.
    Charge(Option<ChargeRecord>),
    /// Decides without charging.
    Peek,
    /// Gives back the part of a charge that has not leaked; with a record, once every call that it answered has given it back.
    Give {
        /// Nonce of the call.
        nonce: [u8; 8],
    },
    /// Takes back the newest hits, of any charge.
    Take,
    /// Settles a record.
    Settle(Settle),
    /// Empties the buckets.
    Delete,
}

/// Record of a charge, by which a retry is answered.
#[derive(Clone, Copy, Debug)]
pub struct ChargeRecord {
    /// Lifetime of the record.
    pub ttl: Duration,
    /// Fingerprint of the request.
    pub fingerprint: [u8; 16],
    /// Random value that differs between attempts of one request.
    pub nonce: [u8; 8],
    /// Hits that are charged.
    pub cost: u64,
}

/// Settlement of a record. `add` of each bucket is the difference to the cost that was left.
#[derive(Clone, Debug)]
pub struct Settle {
    /// Fingerprint of the request.
    pub fingerprint: [u8; 16],
    /// Cost that was charged to each bucket.
    pub charged: u64,
    /// Meters at the time of the charge, in the order of the buckets.
    pub then: Vec<Meter>,
    /// Target of the settlement.
    pub to: Settlement,
    /// True if the difference is charged; otherwise it is given back, by the meters of the charge.
    pub charges: bool,
}

/// Target of a settlement.
#[derive(Clone, Copy, Debug)]
pub enum Settlement {
    /// Final cost.
    Final(u64),
    /// Partial refund; under an id that is not zero, once.
    Refund {
        /// Cost to give back.
        cost: u64,
        /// Id of the refund.
        id: [u8; 8],
    },
    /// Cost left by another owner's record.
    Left {
        /// Cost that is left.
        left: u64,
        /// Cost that `add` of the buckets is the difference to.
        from: u64,
    },
    /// Reads the state of the record.
    Query,
}

/// Bucket of a group.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Key of the bucket.
    pub key: BucketKey,
    /// Meter of the limit.
    pub meter: Meter,
    /// Level to add, or to take away.
    pub add: Level,
    /// Action where the bucket has no room.
    pub flag: Flag,
    /// Channel of the doorbell; empty for a charge and a peek.
    pub channel: String,
    /// End of the charge that [`Op::Give`] gives back without a record.
    pub end: End,
}

/// End of a charge in the queue of its bucket, by which the charge is found again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Place in the queue.
    pub place: Level,
    /// Era of the bucket: charges of another era give nothing back.
    pub era: u64,
}

/// Action where a bucket has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// Denies the group.
    Enforce,
    /// Charges nothing, and lets the group pass.
    Shadow,
    /// Charges nevertheless, up to twice the capacity.
    Force,
    /// Charges like [`Flag::Force`], but a bucket in debt (over its capacity) denies the group.
    Overshoot,
}

/// Call of the script: its keys and its argument.
#[derive(Debug, Default)]
pub(super) struct ScriptCall<'a> {
    /// Keys, each once, however many groups name it.
    pub(super) keys: Vec<&'a Key>,
    indexes: HashMap<&'a str, u16, RandomState>,
    bytes: Vec<u8>,
}

// === impl ScriptCall ===

impl<'a> ScriptCall<'a> {
    /// Encodes several groups.
    pub(super) fn new(groups: impl ExactSizeIterator<Item = &'a Group>) -> ScriptCall<'a> {
        let count = groups.len();
        let indexes = HashMap::with_capacity_and_hasher(count, RandomState::default());
        let mut call = ScriptCall { keys: Vec::with_capacity(count), indexes, bytes: Vec::with_capacity(count * 64) };
        groups.for_each(|group| call.add(group));
        call
    }

    /// `ARGV[1]`.
    pub(super) fn arg(&self) -> Arg<'_> {
        Arg::Bytes(&self.bytes)
    }

    fn add(&mut self, group: &'a Group) {
        // A call has at most 16 limits.
        let count = u8::try_from(group.buckets.len()).unwrap_or(u8::MAX);
        let record = group.record.as_ref().map_or(0, |record| self.index(&record.0));
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

    /// Index of a key, from 1.
    fn index(&mut self, key: &'a Key) -> u16 {
        *self.indexes.entry(key.as_str()).or_insert_with(|| {
            self.keys.push(key);
            // A call has a few hundred groups.
            u16::try_from(self.keys.len()).unwrap_or(u16::MAX)
        })
    }

    fn record(&mut self, op: &Op) {
        match op {
            Op::Charge(Some(record)) => {
                let ttl = u64::try_from(record.ttl.as_millis()).unwrap_or(u64::MAX);
                self.push(&[&double(ttl), &record.fingerprint, &record.nonce, &double(record.cost)]);
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
                self.push(&[mode, sign, &settle.fingerprint, &id, &double(cost), &double(from)]);
            }
            Op::Charge(None) | Op::Peek | Op::Take | Op::Delete => {}
        }
    }

    fn bucket(&mut self, bucket: &'a Bucket, op: &Op) {
        let index = self.index(&bucket.key.0);
        self.push(&[&index.to_le_bytes(), &[bucket.flag.byte()]]);
        let (add, meter) = (bucket.add, bucket.meter);
        let other = if matches!(op, Op::Give { .. }) { bucket.end.place } else { meter.capacity() };
        let numbers = [add.micros, add.part, other.micros, other.part, meter.n(), meter.p()];
        numbers.iter().for_each(|number| self.push(&[&double(*number)]));
        if matches!(op, Op::Give { .. }) {
            self.push(&[&double(bucket.end.era)]);
        }
    }

    /// Encodes the level of a charge that is settled; its part is over `n`.
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

    /// Returns whether the operation can lower levels, so that doorbells ring.
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

/// Encodes a number; all are below 2^53.
pub(super) fn double(number: u64) -> [u8; 8] {
    (number as f64).to_le_bytes()
}
