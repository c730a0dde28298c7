//! Makes a fault happen, and end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyplane_engine::{Cluster, Valkey};
use keyplane_testkit as testkit;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::book::Book;
use super::fleet::{EACH, Fleet, SERVICES};
use super::plan::{Fault, Pace};
use super::stage::{Pair, Store};
use crate::dice::Dice;
use crate::{Error, rig};

/// Target of faults.
pub(super) struct Strike<'a> {
    pub(super) book: &'a Book,
    pub(super) store: &'a Store,
    pub(super) fleet: &'a Fleet,
    pub(super) pace: Pace,
    /// Reports whether an instance was cut off from the store before.
    pub(super) spoiled: AtomicBool,
}

/// Primary of a cluster that is silent for longer is replaced.
const UNREPLACED: Duration = Duration::from_millis(1_200);

// === impl Strike ===

impl Strike<'_> {
    /// Makes a fault, and returns when it has ended. Its description.
    pub(super) async fn make(&self, fault: Fault, dice: &mut Dice) -> Result<String, Error> {
        let length = self.pace.length(dice);
        let details = match (fault, self.store) {
            (Fault::StoreStop, Store::Single(pair)) => {
                stop(pair.primary(), length).await?;
                format!(", {length:.1?}")
            }
            (Fault::StoreStop, Store::Cluster(cluster)) => {
                let length = length.min(UNREPLACED);
                stop(cluster.node(primary(cluster, dice)?), length).await?;
                format!(", {length:.1?}")
            }
            (Fault::StoreRestart, Store::Single(pair)) => {
                self.restart(pair, false, length).await?;
                format!(", {length:.1?}")
            }
            (Fault::StoreEmpty, Store::Single(pair)) => {
                self.restart(pair, true, length).await?;
                format!(", {length:.1?}")
            }
            (Fault::LongLoss, Store::Single(pair)) => {
                let length = dice.millis(70_000, 140_000);
                self.restart(pair, true, length).await?;
                format!(", {length:.1?}")
            }
            (Fault::Promotion, Store::Single(pair)) => {
                block_in_place(|| promotion(pair))?;
                String::new()
            }
            (Fault::Failover, Store::Single(pair)) => {
                self.failover(pair, dice).await?;
                String::new()
            }
            (Fault::Failover, Store::Cluster(cluster)) => {
                block_in_place(|| self.takeover(cluster, dice))?;
                String::new()
            }
            (Fault::RoleChange, Store::Single(pair)) => {
                let length = length.min(Duration::from_secs(5));
                block_in_place(|| {
                    pair.hold_writes()?;
                    pair.demote()?;
                    pair.go_on(pair.primary())
                })?;
                sleep(length).await;
                block_in_place(|| pair.reinstate())?;
                format!(", {length:.1?}")
            }
            (Fault::ClientKill, store) => {
                on_all(store, &["CLIENT", "KILL", "TYPE", "normal"])?;
                on_all(store, &["CLIENT", "KILL", "TYPE", "pubsub"])?;
                String::new()
            }
            (Fault::ScriptFlush, store) => {
                on_all(store, &["SCRIPT", "FLUSH"])?;
                String::new()
            }
            (Fault::Cut, Store::Single(pair)) => self.spoil(pair, testkit::Fault::Cut, length, dice).await,
            (Fault::BlackHole, Store::Single(pair)) => self.spoil(pair, testkit::Fault::BlackHole, length, dice).await,
            (Fault::HalfOpen, Store::Single(pair)) => self.spoil(pair, testkit::Fault::HalfOpen, length, dice).await,
            (Fault::Delay, Store::Single(pair)) => {
                let delay = testkit::Fault::Delay(dice.millis(5, 200));
                self.spoil(pair, delay, length, dice).await
            }
            (Fault::InstanceStop, _) => {
                let length = length.min(Duration::from_secs(5));
                let instance = &self.fleet.instances[self.any(dice)];
                instance.pause()?;
                sleep(length).await;
                instance.resume()?;
                format!(": {}, {length:.1?}", instance.name())
            }
            (Fault::InstanceKill, _) => {
                let instance = &self.fleet.instances[self.any(dice)];
                block_in_place(|| instance.kill());
                sleep(dice.millis(0, 1_000)).await;
                instance.start().await?;
                format!(": {}", instance.name())
            }
            (Fault::RollingRestart, _) => {
                let service = SERVICES[dice.below(SERVICES.len() as u64) as usize];
                for instance in self.fleet.of(service) {
                    block_in_place(|| instance.stop())?;
                    instance.start().await?;
                }
                format!(": {service:?}")
            }
            // `Fault::fits` keeps these from being drawn.
            (_, Store::Cluster(_)) => return Err(format!("{fault:?} is no fault of a cluster").into()),
        };
        Ok(format!("{}{details}", fault.label()))
    }

    fn any(&self, dice: &mut Dice) -> usize {
        dice.below(self.fleet.instances.len() as u64) as usize
    }

    async fn restart(&self, pair: &Pair, empty: bool, away: Duration) -> Result<(), Error> {
        if empty {
            self.book.clock.lose();
        }
        block_in_place(|| pair.primary().kill())?;
        sleep(away).await;
        block_in_place(|| pair.restart(empty))?;
        if empty {
            self.book.clock.lose();
        }
        Ok(())
    }

    /// Loses writes that the replica has not got yet.
    async fn failover(&self, pair: &Pair, dice: &mut Dice) -> Result<(), Error> {
        self.book.clock.lose();
        block_in_place(|| pair.primary().kill())?;
        sleep(dice.millis(0, 2_000)).await;
        block_in_place(|| pair.promote())?;
        self.book.clock.lose();
        block_in_place(|| {
            pair.replica().restart()?;
            pair.replicate()?;
            pair.wait_in_sync()
        })
    }

    fn takeover(&self, cluster: &Cluster, dice: &mut Dice) -> Result<(), Error> {
        let key = any_key(dice);
        let old = cluster.primary_of(&key)?.ok_or("nobody is primary")?;
        self.book.clock.lose();
        cluster.node(old).kill()?;
        cluster.wait_takeover(&key, old)?;
        self.book.clock.lose();
        cluster.node(old).restart()?;
        rig::wait_whole(cluster)
    }

    /// Spoils the ways of one instance, of all instances of a service, or of all.
    async fn spoil(&self, pair: &Pair, with: testkit::Fault, length: Duration, dice: &mut Dice) -> String {
        let (one, count) = (self.any(dice), self.fleet.instances.len());
        let cuts_off = !matches!(with, testkit::Fault::Delay(_));
        // The first that cuts off always strikes one alone: else a run might say nothing of that.
        let first = cuts_off && !self.spoiled.swap(true, Ordering::Relaxed);
        let (ways, target) = match if first { 0 } else { dice.below(3) } {
            0 => (one..one + 1, self.fleet.instances[one].name()),
            1 => {
                (one / EACH * EACH..one / EACH * EACH + EACH, format!("all of {:?}", self.fleet.instances[one].service))
            }
            _ => (0..count, "all".to_owned()),
        };
        let proxies = &pair.proxies[ways];
        let alone = proxies.len() == 1 && cuts_off;
        let length = if alone { length.max(self.pace.longest / 3) } else { length };
        block_in_place(|| proxies.iter().for_each(|proxy| proxy.set(with)));
        self.book.clock.cut_off(alone);
        sleep(length).await;
        self.book.clock.cut_off(false);
        block_in_place(|| proxies.iter().for_each(|proxy| proxy.set(testkit::Fault::Pass)));
        format!(": {target}, {length:.1?}")
    }
}

async fn stop(node: &Valkey, length: Duration) -> Result<(), Error> {
    node.pause()?;
    sleep(length).await;
    Ok(node.resume()?)
}

/// Promotes the replica without a loss: writes wait until it has all earlier ones.
fn promotion(pair: &Pair) -> Result<(), Error> {
    pair.hold_writes()?;
    pair.promote()?;
    pair.replicate()?;
    pair.go_on(pair.replica())?;
    // The name leads elsewhere now; clients of the old primary are disconnected, as managed services do.
    pair.replica().command(&["CLIENT", "KILL", "TYPE", "normal"])?;
    pair.replica().command(&["CLIENT", "KILL", "TYPE", "pubsub"])?;
    pair.wait_in_sync()
}

fn on_all(store: &Store, command: &[&str]) -> Result<(), Error> {
    block_in_place(|| store.nodes().iter().try_for_each(|node| Ok(node.command(command).map(drop)?)))
}

fn primary(cluster: &Cluster, dice: &mut Dice) -> Result<usize, Error> {
    block_in_place(|| cluster.primary_of(&any_key(dice)))?.ok_or_else(|| "nobody is primary".into())
}

fn any_key(dice: &mut Dice) -> String {
    format!("soak-{}", dice.below(1_000))
}
