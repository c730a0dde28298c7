//! Plan of the faults, from a seed.

use std::time::Duration;

use clap::ValueEnum;

use crate::dice::Dice;

/// Kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// Valkey is stopped (SIGSTOP) for 0.1 to 10 s; of a cluster one primary, for too short a time to be replaced.
    StoreStop,
    /// Valkey is killed, and started again with its data.
    StoreRestart,
    /// Valkey is killed, and started again empty.
    StoreEmpty,
    /// Valkey is killed, and started again empty after more than a minute: longer than instances look back. In long runs, or where asked for.
    LongLoss,
    /// Replica takes over, with all data.
    Promotion,
    /// Primary is killed, and the replica takes over with what it has. Of a cluster: one of the primaries.
    Failover,
    /// Primary becomes a replica for a while, at the same address.
    RoleChange,
    /// `CLIENT KILL`: the server closes all connections.
    ClientKill,
    /// Server forgets all scripts.
    ScriptFlush,
    /// Cut: connections are closed and new ones refused, for one instance or all.
    Cut,
    /// Black hole: nothing arrives until the end, then all of it.
    BlackHole,
    /// Half open: the other end vanishes without a reset.
    HalfOpen,
    /// Delay for one instance or all.
    Delay,
    /// Instance is stopped (SIGSTOP), and goes on.
    InstanceStop,
    /// Instance is killed, and started again.
    InstanceKill,
    /// Rolling restart of a service's instances.
    RollingRestart,
}

/// Store that the services run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ground {
    /// Primary with a replica.
    Single,
    /// Three primaries with a replica each.
    Cluster,
}

/// Lengths of the parts of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) warmup: Duration,
    /// Calm part before the first fault.
    pub(super) baseline: Duration,
    /// Time from the end of a fault to the calm part in which everything must be as before.
    pub(super) settle: Duration,
    pub(super) calm: Duration,
    /// Fault lasts that long at most, where its length is free.
    pub(super) longest: Duration,
}

/// Faults in an order that the seed gives: each once, then each once again.
pub(super) struct Deck {
    kinds: Vec<Fault>,
    left: Vec<Fault>,
}

/// Part of a run that has time for faults of minutes.
const LONG: Duration = Duration::from_mins(30);

// === impl Fault ===

impl Fault {
    pub(super) fn label(self) -> &'static str {
        match self {
            Fault::StoreStop => "store stopped",
            Fault::StoreRestart => "store restarted",
            Fault::StoreEmpty => "store restarted empty",
            Fault::LongLoss => "store down for minutes, then empty",
            Fault::Promotion => "replica promoted",
            Fault::Failover => "primary killed",
            Fault::RoleChange => "REPLICAOF out and back",
            Fault::ClientKill => "CLIENT KILL",
            Fault::ScriptFlush => "SCRIPT FLUSH",
            Fault::Cut => "connections cut",
            Fault::BlackHole => "black hole",
            Fault::HalfOpen => "half open",
            Fault::Delay => "delay",
            Fault::InstanceStop => "instance stopped",
            Fault::InstanceKill => "instance killed",
            Fault::RollingRestart => "rolling restart",
        }
    }

    /// Reports whether the fault is possible on that ground. Clients of a cluster bypass proxies.
    pub(super) fn fits(self, ground: Ground) -> bool {
        match self {
            Fault::StoreStop
            | Fault::Failover
            | Fault::ClientKill
            | Fault::ScriptFlush
            | Fault::InstanceStop
            | Fault::InstanceKill
            | Fault::RollingRestart => true,
            Fault::StoreRestart
            | Fault::StoreEmpty
            | Fault::LongLoss
            | Fault::Promotion
            | Fault::RoleChange
            | Fault::Cut
            | Fault::BlackHole
            | Fault::HalfOpen
            | Fault::Delay => ground == Ground::Single,
        }
    }
}

/// Label of the fault that a description begins with: `delay` of `delay: session 1, 0.1s`.
pub(super) fn label_of(description: &str) -> &str {
    description.split([':', ',']).next().unwrap_or(description)
}

// === impl Deck ===

impl Deck {
    /// Selects the fitting faults of `wanted`; without any, all that fit a run of this `length`.
    pub(super) fn new(ground: Ground, wanted: &[Fault], length: Duration) -> Deck {
        let drawn = |kind: &Fault| match wanted {
            [] => *kind != Fault::LongLoss || length >= LONG,
            wanted => wanted.contains(kind),
        };
        let kinds = Fault::value_variants().iter().copied().filter(|kind| kind.fits(ground) && drawn(kind)).collect();
        Deck { kinds, left: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// `None` if there is none at all.
    pub(super) fn draw(&mut self, dice: &mut Dice) -> Option<Fault> {
        if self.left.is_empty() {
            self.left.clone_from(&self.kinds);
        }
        let place = dice.below(self.left.len() as u64) as usize;
        (place < self.left.len()).then(|| self.left.swap_remove(place))
    }
}

// === impl Pace ===

impl Pace {
    pub(super) fn usual() -> Pace {
        Pace {
            warmup: Duration::from_secs(5),
            baseline: Duration::from_secs(20),
            settle: Duration::from_secs(5),
            calm: Duration::from_secs(10),
            longest: Duration::from_secs(10),
        }
    }

    /// Deck for a test of the soak itself.
    pub(super) fn hasty() -> Pace {
        let second = Duration::from_secs(1);
        Pace { warmup: second, baseline: second * 3, settle: second, calm: second * 3, longest: second }
    }

    /// Length from 0.1 s on, short ones as likely as long ones.
    pub(super) fn length(self, dice: &mut Dice) -> Duration {
        let shortest = 0.1_f64;
        let decades = (self.longest.as_secs_f64() / shortest).ln();
        Duration::from_secs_f64(shortest * (dice.share() * decades).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_faults_and_no_kind_waits_long() {
        let draw = |seed| {
            let (mut deck, mut dice) = (Deck::new(Ground::Single, &[], LONG), Dice::seeded(seed));
            (0..32).filter_map(|_| deck.draw(&mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let mut first = draw(3)[..16].to_vec();
        first.sort();
        assert_eq!(first, Fault::value_variants());
    }

    #[test]
    fn only_what_is_wanted_and_fits_is_drawn() {
        let mut dice = Dice::seeded(1);
        let short = LONG / 2;
        let mut deck = Deck::new(Ground::Cluster, &[Fault::Cut, Fault::Failover], short);
        assert!((0..5).all(|_| deck.draw(&mut dice) == Some(Fault::Failover)));
        let mut none = Deck::new(Ground::Cluster, &[Fault::Cut], short);
        assert!(none.is_empty() && none.draw(&mut dice).is_none());
        let mut all = Deck::new(Ground::Single, &[], short);
        assert!((0..50).all(|_| all.draw(&mut dice) != Some(Fault::LongLoss)));
    }

    #[test]
    fn lengths_reach_from_short_to_long() {
        let (pace, mut dice) = (Pace::usual(), Dice::seeded(5));
        let lengths: Vec<_> = (0..1_000).map(|_| pace.length(&mut dice).as_secs_f64()).collect();
        assert!(lengths.iter().all(|length| (0.099..10.01).contains(length)));
        let short = lengths.iter().filter(|length| **length < 1.0).count();
        assert!((400..600).contains(&short), "{short}");
    }
}
