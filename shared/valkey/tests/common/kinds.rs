//! Durations of one command of each kind.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use keyplane_valkey::{Bell, Dedicated, Doorbells, Error, Feature, Key, Script, Valkey};
use tokio::sync::Mutex;

static CHANGE: Script = Script::new(
    "test.change",
    "redis.call('XADD', KEYS[1], 'MAXLEN', '8', '*', 'n', '1') redis.call('PEXPIRE', KEYS[1], 600000) \
     redis.call('PUBLISH', ARGV[1], KEYS[1]) return 1",
);

/// Calls of each kind in one measurement.
const CALLS: usize = 16;
/// Longest recovery after the fault: the promise is 5 s; a loaded machine gets three times that.
const PATIENCE: Duration = Duration::from_secs(15);
/// Fewest measurements before a kind counts as slow.
const ROUNDS: u32 = 10;
/// Longest measurement.
const ENOUGH: Duration = Duration::from_secs(4);
const NAMES: [&str; 5] = ["read", "script", "stream", "bell", "blocking"];

/// Measures one `Valkey`.
pub(crate) struct Kinds {
    valkey: Valkey,
    key: Key,
    bells: Doorbells,
    bell: Mutex<Bell>,
    /// Connection for blocking reads, and the id of its last entry.
    own: Mutex<(Option<Dedicated>, String)>,
}

/// Median and third slowest call of each kind: two slow ones may be the fault of a loaded machine.
pub(crate) type Times = [(Duration, Duration); 5];

// === impl Kinds ===

impl Kinds {
    pub(crate) async fn start(valkey: &Valkey) -> Kinds {
        Kinds::of(valkey, super::key(valkey, "kinds")).await
    }

    pub(crate) async fn of(valkey: &Valkey, key: Key) -> Kinds {
        let bells = valkey.doorbells(Feature::SESSION);
        let bell = Mutex::new(bells.listen(&key));
        let own = Mutex::new((None, "$".to_owned()));
        let kinds = Kinds { valkey: valkey.clone(), key, bells, bell, own };
        // Connections are made and scripts are loaded; a PUBLISH may get lost in a young cluster.
        for (kind, name) in NAMES.iter().enumerate() {
            keyplane_testkit::eventually(name, PATIENCE * 2, async || Box::pin(kinds.once(kind)).await).await;
        }
        kinds
    }

    pub(crate) async fn measure(&self) -> Times {
        keyplane_testkit::eventually("each kind of command works", PATIENCE * 2, async || self.times().await).await
    }

    /// Measures once; concurrent measurements would slow each other down.
    async fn times(&self) -> Result<Times, String> {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let _alone = ALONE.lock().await;
        let times = tokio::time::timeout(ENOUGH, Box::pin(self.times_now())).await;
        times.unwrap_or_else(|_| Err(format!("{CALLS} calls of each kind take more than {ENOUGH:?}")))
    }

    async fn times_now(&self) -> Result<Times, String> {
        let mut times = [const { Vec::new() }; 5];
        for _ in 0..CALLS {
            for (kind, times) in times.iter_mut().enumerate() {
                let start = Instant::now();
                self.once(kind).await.map_err(|error| format!("{}: {error}", NAMES[kind]))?;
                times.push(start.elapsed());
            }
        }
        Ok(times.map(|mut times| {
            times.sort_unstable();
            (times[CALLS / 2], times[CALLS - 3])
        }))
    }

    async fn once(&self, kind: usize) -> Result<(), String> {
        let result = match kind {
            0 => self.valkey.hgetall(&super::key(&self.valkey, "nothing")).await.map(drop),
            1 => self.change().await,
            2 => self.valkey.xrange(&self.key, "-", "+", 10).await.map(drop),
            3 => {
                let mut bell = self.bell.lock().await;
                futures::FutureExt::now_or_never(bell.rung());
                self.change().await.map_err(|error| error.to_string())?;
                let rung = tokio::time::timeout(Duration::from_secs(1), bell.rung()).await;
                return rung.map_err(|_| "it does not ring".to_owned());
            }
            _ => Box::pin(self.blocking()).await,
        };
        result.map_err(|error| error.to_string())
    }

    async fn change(&self) -> Result<(), Error> {
        let channel = self.bells.channel(&self.key);
        self.valkey.run(&CHANGE, &[&self.key], &[(&channel).into()]).await.map(drop)
    }

    /// Blocks on a read until an entry is added.
    async fn blocking(&self) -> Result<(), Error> {
        let (connection, after) = &mut *self.own.lock().await;
        let own = match connection.take().filter(|own| !own.is_broken()) {
            Some(own) => own,
            None => {
                let own = self.valkey.dedicate(&self.key).await?;
                let last = self.valkey.xrevrange(&self.key, "+", "-", 1).await?.pop();
                *after = last.map_or_else(|| "0".to_owned(), |entry| entry.id);
                own
            }
        };
        let read = own.read(&self.key, after, 8, Duration::from_secs(1));
        let (read, changed) = tokio::join!(read, self.change());
        changed?;
        if let Some(entry) = read?.pop() {
            *after = entry.id;
        }
        *connection = Some(own);
        Ok(())
    }
}

/// Measures until each kind was once as fast as before, or as `control`, which has no fault, is now. Returns the kinds
/// that stayed slow. (Once is enough: a slow connection stays slow, and a loaded machine is slow at times.)
pub(crate) async fn until_as_fast(kinds: &Kinds, before: &Times, control: &Kinds) -> Option<String> {
    let over = Instant::now();
    let mut rounds = 0;
    let (mut usual, mut best) = (*before, [(Duration::MAX, Duration::MAX); NAMES.len()]);
    loop {
        let failure = match (control.times().await, kinds.times().await) {
            (Ok(control), Ok(now)) => {
                for kind in 0..NAMES.len() {
                    usual[kind] = pairwise(usual[kind], control[kind], Duration::max);
                    best[kind] = pairwise(best[kind], now[kind], Duration::min);
                }
                None
            }
            (_, Err(error)) | (Err(error), _) => Some(error),
        };
        let slow = slower(&usual, &best);
        if slow.is_empty() {
            return None;
        }
        rounds += 1;
        if over.elapsed() > PATIENCE && rounds >= ROUNDS {
            return Some(failure.unwrap_or(slow));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn pairwise<T>((a, b): (T, T), (c, d): (T, T), choose: impl Fn(T, T) -> T) -> (T, T) {
    (choose(a, c), choose(b, d))
}

fn slower(usual: &Times, best: &Times) -> String {
    let mut slow = String::new();
    for kind in 0..NAMES.len() {
        let (usual, best) = (usual[kind], best[kind]);
        if best.0 > bound(usual.0) || best.1 > bound(usual.1) {
            let _ = write!(slow, "{}: {best:?} where it was {usual:?}; ", NAMES[kind]);
        }
    }
    slow
}

fn bound(usual: Duration) -> Duration {
    usual.mul_f64(1.5).max(usual + Duration::from_millis(1))
}
