//! Script under a simulated clock, without the store's code around it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use keyplane_rate_limiting::domain::{Level, Meter};
use keyplane_rate_limiting::store;
use keyplane_valkey::{App, Arg, Feature, Key, Script, Settings, Valkey};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::rig::PATIENCE;

/// Time comes as the last argument. Keys live for an hour; how long they were to live is noted in the last key.
static DECIDE: LazyLock<Script> = LazyLock::new(|| {
    let source = replaced(
        store::DECIDE.source(),
        "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]",
        "local now = tonumber(ARGV[#ARGV])",
    );
    let source = replaced(&source, "'PX', life)", "'PX', 3600000 + redis.call('HSET', KEYS[#KEYS], KEYS[key], life))");
    Script::new("test.decide", source.leak())
});

/// Lifetimes given to keys, in their order; 0 for a missing key.
static LIVES: Script = Script::new(
    "test.lives",
    "local lives = {}
     for i = 1, #KEYS - 1 do
       lives[i] = redis.call('EXISTS', KEYS[i]) == 1 and tonumber(redis.call('HGET', KEYS[#KEYS], KEYS[i])) or 0
     end
     return lives",
);

fn replaced(source: &str, from: &str, to: &str) -> String {
    assert_eq!(source.matches(from).count(), 1, "decide.lua has changed: the test looks for {from}");
    source.replace(from, to)
}

/// Part of the shared server for one case, on the connection of [`RUNTIME`].
pub(crate) struct Clocked {
    valkey: &'static Valkey,
    owner: String,
    lives: Key,
}

/// Runtime of all cases.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// Bucket of a group.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) key: Key,
    pub(crate) meter: Meter,
    pub(crate) cost: u64,
    pub(crate) flag: u8,
    /// Cost that was charged before it is settled.
    pub(crate) charged: u64,
    /// Meter at the time of the charge.
    pub(crate) then: Meter,
    /// End and era of the charge to give back.
    pub(crate) end: (Level, u64),
}

/// Buckets that are decided on as one: `c`, `p`, `t` or `d`; with a record also `g` and `s`.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) op: u8,
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) record: Option<Record>,
}

/// Record, and its head in the argument.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) key: Key,
    pub(crate) head: Vec<u8>,
    /// Index of its charge in the test.
    pub(crate) charge: usize,
}

/// Decision of the script.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: char,
    pub(crate) left: u64,
    pub(crate) states: Vec<Found>,
}

/// One bucket of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) room: u8,
    pub(crate) level: Level,
    pub(crate) ahead: u64,
    /// Level that settlements have moved.
    pub(crate) moved: Level,
    /// Level of the charge that was settled, under its own meter.
    pub(crate) kept: Level,
    /// End and era of a charge, where the level does not imply them.
    pub(crate) end: Option<(Level, u64)>,
}

// === impl Clocked ===

impl Clocked {
    pub(crate) async fn connect() -> Clocked {
        static VALKEY: OnceCell<Valkey> = OnceCell::const_new();
        static CASES: AtomicU64 = AtomicU64::new(0);
        let valkey = VALKEY.get_or_init(async || {
            let app = App::new(&keyplane_testkit::app()).expect("an app");
            let valkey = Valkey::connect(&Settings::new(keyplane_testkit::valkey().url()), app).expect("settings");
            valkey.wait_ready(PATIENCE).await.expect("the store answers");
            valkey
        });
        let (valkey, owner) = (valkey.await, format!("case-{}", CASES.fetch_add(1, Ordering::Relaxed)));
        let lives = Key::tagged(valkey.app(), Feature::RATELIMIT, "acme", &owner, &["lives"]);
        Clocked { valkey, owner, lives }
    }

    pub(crate) fn key(&self, name: &str) -> Key {
        Key::tagged(self.valkey.app(), Feature::RATELIMIT, "acme", &self.owner, &["b", name])
    }

    /// Runs the script at `now`, for all groups in one call.
    pub(crate) async fn decide(&self, now: u64, groups: &[Group]) -> Vec<Answer> {
        let (mut bytes, mut keys) = (Vec::new(), Vec::<&Key>::new());
        for group in groups {
            bytes.extend([group.op, u8::try_from(group.buckets.len()).expect("few buckets")]);
            bytes.extend(group.record.as_ref().map_or([0; 2], |record| place(&mut keys, &record.key)));
            bytes.extend(group.record.iter().flat_map(|record| &record.head));
            for bucket in &group.buckets {
                bytes.extend(place(&mut keys, &bucket.key));
                bytes.push(bucket.flag);
                bytes.extend(bucket.numbers(group.op));
            }
            if matches!(group.op, b'g' | b't' | b's' | b'd') {
                group.buckets.iter().for_each(|_| bytes.extend(b"\x0enobody-listens"));
            }
        }
        let now = i64::try_from(now).expect("a time");
        keys.push(&self.lives);
        let argv = [Arg::Bytes(&bytes), Arg::Int(now)];
        let reply = self.valkey.run_together(&DECIDE, &keys, &argv).await.expect("the script runs");
        let reply = reply.bytes().expect("one string");
        let mut bytes = &reply[..];
        let answers = groups.iter().map(|group| Answer::read(&mut bytes, group, now)).collect();
        assert!(bytes.is_empty(), "{} bytes are left of the reply", bytes.len());
        answers
    }

    /// One group alone.
    pub(crate) async fn single(&self, now: u64, op: u8, buckets: &[Bucket]) -> Answer {
        self.decide(now, &[Group { op, buckets: buckets.to_vec(), record: None }]).await.remove(0)
    }

    /// Lifetimes given to keys, in milliseconds.
    pub(crate) async fn lives(&self, keys: &[Key]) -> Vec<u64> {
        let keys: Vec<&Key> = keys.iter().chain([&self.lives]).collect();
        let lives = self.valkey.run(&LIVES, &keys, &[]).await.expect("the script runs").array().expect("a list");
        lives.iter().map(|life| u64::try_from(life.int().expect("a number")).expect("a life")).collect()
    }
}

// === impl Bucket ===

impl Bucket {
    fn numbers(&self, op: u8) -> Vec<u8> {
        let (add, (end, era)) = (self.meter.level(self.cost), self.end);
        let other = if op == b'g' { end } else { self.meter.capacity() };
        let whole = self.then.level(self.charged);
        let mut numbers = vec![add.micros, add.part, other.micros, other.part, self.meter.n(), self.meter.p()];
        match op {
            b'g' => numbers.push(era),
            b's' => numbers.extend([whole.micros, whole.part, self.then.n()]),
            _ => {}
        }
        numbers.into_iter().flat_map(double).collect()
    }
}

// === impl Answer ===

impl Answer {
    fn read(bytes: &mut &[u8], group: &Group, now: i64) -> Answer {
        let status = char::from(byte(bytes));
        let mut answer = Answer { status, left: 0, states: Vec::new() };
        let settles = group.op == b's';
        if matches!(status, 'C' | 'N') {
            return answer;
        }
        if settles {
            answer.left = number(bytes);
        }
        if !matches!(status, 'A' | 'R' | 'P') {
            return answer;
        }
        let at = number(bytes);
        assert!(at == now as u64 || status == 'P', "it decides by the clock");
        for _ in &group.buckets {
            let (room, level, ahead) = (byte(bytes), read_level(bytes), number(bytes));
            let (moved, kept) = if settles { (read_level(bytes), read_level(bytes)) } else { Default::default() };
            answer.states.push(Found { room, level, ahead, moved, kept, end: None });
        }
        for state in answer.states.iter_mut().filter(|state| state.room & 4 > 0) {
            (state.room, state.end) = (state.room - 4, Some((read_level(bytes), number(bytes))));
        }
        answer
    }
}

/// Index of a key for the script.
fn place<'a>(keys: &mut Vec<&'a Key>, key: &'a Key) -> [u8; 2] {
    let known = keys.iter().position(|other| *other == key);
    let place = known.unwrap_or_else(|| {
        keys.push(key);
        keys.len() - 1
    });
    u16::try_from(place + 1).expect("few keys").to_le_bytes()
}

pub(crate) fn double(number: u64) -> [u8; 8] {
    (number as f64).to_le_bytes()
}

fn read_level(bytes: &mut &[u8]) -> Level {
    Level { micros: number(bytes), part: number(bytes) }
}

fn byte(bytes: &mut &[u8]) -> u8 {
    let (first, rest) = bytes.split_first().expect("the reply goes on");
    *bytes = rest;
    *first
}

fn number(bytes: &mut &[u8]) -> u64 {
    let (first, rest) = bytes.split_first_chunk().expect("the reply goes on");
    *bytes = rest;
    let number = f64::from_le_bytes(*first);
    assert!(number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&number), "{number} is not exact");
    number as u64
}
