//! Makes what a scenario is about happen, again and again.

use std::time::Duration;

use keyplane_engine::{Cluster, Reply, Valkey};
use keyplane_testkit::{Fault, FaultProxy};
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use super::board::Board;
use super::scenario::Scenario;
use super::stage::{Stage, Store};
use crate::dice::Dice;
use crate::rig::APP;
use crate::{Error, rig};

/// Trouble of one run.
pub(super) struct Trouble<'a> {
    pub(super) stage: &'a Stage,
    pub(super) board: &'a Board,
    pub(super) stop: watch::Receiver<bool>,
    /// Largest number of strikes.
    pub(super) most: u32,
    pub(super) dice: Dice,
    pub(super) times: u32,
}

/// Most revocations that an instance may be late to apply in a healthy run; and the wait for that.
const WELL: u32 = 8;
const RECOVERY: Duration = Duration::from_secs(10);

// === impl Trouble ===

impl Trouble<'_> {
    /// Strikes until stopped; then everything works again. Returns the number of strikes.
    pub(super) async fn make(mut self, scenario: Scenario) -> Result<u32, Error> {
        match (scenario, &self.stage.store, &self.stage.proxy) {
            (Scenario::Sigstop, _, _) => self.stop_instances().await?,
            (Scenario::Restart, Store::One(valkey), _) => self.restart(valkey).await?,
            (Scenario::Flush, Store::One(valkey), _) => self.flush(valkey).await?,
            (Scenario::Cut, _, Some(proxy)) => self.spoil(proxy, Fault::Cut).await,
            (Scenario::BlackHole, _, Some(proxy)) => self.spoil(proxy, Fault::BlackHole).await,
            (Scenario::HalfOpen, _, Some(proxy)) => self.spoil(proxy, Fault::HalfOpen).await,
            (Scenario::Trim, Store::One(valkey), Some(proxy)) => self.trim(valkey, proxy).await?,
            (Scenario::Cluster, Store::Many(cluster), _) => self.kill_primaries(cluster).await?,
            _ => {}
        }
        Ok(self.times)
    }

    /// Waits until nothing is wrong any more, and then for a while; whether to strike again.
    async fn rest(&mut self, from: u64, to: u64) -> bool {
        let length = self.dice.millis(from, to);
        let recovered = async {
            while self.board.most_followed() > WELL {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // A fault that can't be undone does not end the run.
        let _ = timeout(RECOVERY, recovered).await;
        // An error means that nobody is left who could say so.
        let over = timeout(length, self.stop.wait_for(|stop| *stop)).await.is_ok();
        !over && self.times < self.most
    }

    async fn stop_instances(&mut self) -> Result<(), Error> {
        while self.rest(100, 400).await {
            let others = &self.stage.instances[1..];
            let Some(instance) = others.get(self.dice.below(others.len() as u64) as usize) else { return Ok(()) };
            let length = self.dice.millis(110, 600);
            instance.pause()?;
            sleep(length).await;
            instance.resume()?;
            self.times += 1;
        }
        Ok(())
    }

    async fn restart(&mut self, valkey: &Valkey) -> Result<(), Error> {
        while self.rest(500, 1_500).await {
            valkey.kill()?;
            sleep(self.dice.millis(0, 500)).await;
            block_in_place(|| valkey.restart())?;
            self.times += 1;
        }
        Ok(())
    }

    async fn flush(&mut self, valkey: &Valkey) -> Result<(), Error> {
        while self.rest(50, 200).await {
            block_in_place(|| valkey.command(&["SCRIPT", "FLUSH"]))?;
            self.times += 1;
        }
        Ok(())
    }

    async fn spoil(&mut self, proxy: &FaultProxy, fault: Fault) {
        while self.rest(300, 1_000).await {
            let length = self.dice.millis(150, 900);
            block_in_place(|| proxy.set(fault));
            sleep(length).await;
            block_in_place(|| proxy.set(Fault::Pass));
            self.times += 1;
        }
    }

    async fn trim(&mut self, valkey: &Valkey, proxy: &FaultProxy) -> Result<(), Error> {
        while self.rest(700, 1_500).await {
            block_in_place(|| proxy.set(Fault::Cut));
            sleep(self.dice.millis(200, 600)).await;
            let keep = if self.times.is_multiple_of(2) { "1" } else { "0" };
            block_in_place(|| {
                for feed in keys(valkey, &format!("{APP}:revocation:_:feed:*"))? {
                    valkey.command(&["XTRIM", &feed, "MAXLEN", keep])?;
                }
                proxy.set(Fault::Pass);
                Ok::<_, Error>(())
            })?;
            self.times += 1;
        }
        Ok(())
    }

    /// Primary of one partition at a time; it comes back as a replica.
    async fn kill_primaries(&mut self, cluster: &Cluster) -> Result<(), Error> {
        while self.rest(500, 1_000).await {
            let key = format!("{APP}:revocation:_:feed:{{p{}}}", self.times % 4);
            block_in_place(|| {
                let Some(primary) = cluster.primary_of(&key)? else { return Err(Error::from("nobody is primary")) };
                cluster.node(primary).kill()?;
                cluster.wait_takeover(&key, primary)?;
                Ok(cluster.node(primary).restart()?)
            })?;
            self.times += 1;
            // Until the one that came back has what its primary has, another kill would lose everything.
            block_in_place(|| rig::wait_whole(cluster))?;
        }
        Ok(())
    }
}

fn keys(valkey: &Valkey, pattern: &str) -> Result<Vec<String>, Error> {
    match valkey.command(&["KEYS", pattern])? {
        Reply::Array(keys) => Ok(keys.iter().filter_map(Reply::text).map(str::to_owned).collect()),
        Reply::Nil | Reply::Int(_) | Reply::Text(_) | Reply::Error(_) => Err("KEYS has no list".into()),
    }
}
