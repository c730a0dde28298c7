//! After each fault, in the same process, every kind of command is as fast as it was before.

mod common;

use std::time::{Duration, Instant};

use common::kinds::{self, Kinds};
use common::{COUNT, connect, eventually, key, settings};
use futures::future::join_all;
use keyplane_engine::Valkey as Server;
use keyplane_testkit::{Fault, FaultProxy};
use keyplane_valkey::{Settings, Valkey};

/// Length of a silence: enough for connections to be given up, and for several attempts to make others.
const SILENCE: Duration = Duration::from_secs(4);

/// Injects a fault and removes it before it returns.
type Drill = for<'a> fn(&'a World) -> futures::future::LocalBoxFuture<'a, ()>;

const DRILLS: &[(&str, Drill)] = &[
    ("a stall of 0.1 s", |world| Box::pin(world.stall(Duration::from_millis(100)))),
    ("a stall of 4 s", |world| Box::pin(world.stall(SILENCE))),
    ("a stall of 4 s under load", |world| Box::pin(world.stall_under_load())),
    ("a kill and a restart", |world| Box::pin(world.kill())),
    ("a restart", |world| Box::pin(async { world.server.restart().expect("restarted") })),
    ("a cut", |world| Box::pin(world.fault(Fault::Cut, Duration::from_secs(1)))),
    ("a black hole", |world| Box::pin(world.fault(Fault::BlackHole, SILENCE))),
    ("a half-open connection", |world| Box::pin(world.fault(Fault::HalfOpen, SILENCE))),
    ("a role change out and back", |world| Box::pin(world.replica())),
    ("CLIENT KILL", |world| Box::pin(async { world.client_kill() })),
    ("SCRIPT FLUSH", |world| Box::pin(async { world.admin(&["SCRIPT", "FLUSH"]) })),
    ("CONFIG SET timeout 1", |world| Box::pin(world.idle_timeout())),
    ("a full queue", |world| Box::pin(world.overload())),
];

struct World {
    server: Server,
    proxy: FaultProxy,
    valkey: Valkey,
}

// === impl World ===

impl World {
    async fn start() -> World {
        let server = Server::builder(&keyplane_testkit::toolbox()).start().expect("a server");
        let proxy = FaultProxy::to_port(server.port());
        let settings = Settings { queue_limit: 16, ..settings(&proxy.url(&server.url())) };
        let valkey = connect(&settings).await;
        World { server, proxy, valkey }
    }

    fn admin(&self, command: &[&str]) {
        self.server.command(command).expect("the server takes it");
    }

    async fn stall(&self, length: Duration) {
        self.server.pause().expect("paused");
        tokio::time::sleep(length).await;
        self.server.resume().expect("resumed");
    }

    async fn stall_under_load(&self) {
        let key = key(&self.valkey, "load");
        let load = join_all((0..20).map(async |_| {
            let start = Instant::now();
            while start.elapsed() < SILENCE {
                // Either may fail while the server is silent.
                let _ = (self.valkey.get(&key).await, self.valkey.run(&COUNT, &[&key], &[]).await);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
        tokio::join!(load, self.stall(SILENCE));
    }

    async fn kill(&self) {
        self.server.kill().expect("killed");
        eventually("its death is noticed", async || self.valkey.ping().await.is_err()).await;
        self.server.restart().expect("restarted");
    }

    async fn fault(&self, fault: Fault, length: Duration) {
        self.proxy.set(fault);
        tokio::time::sleep(length).await;
        self.proxy.set(Fault::Pass);
    }

    /// Role change: a replica of a primary that does not exist, so the data stays.
    async fn replica(&self) {
        self.admin(&["REPLICAOF", "127.0.0.1", "1"]);
        let read = key(&self.valkey, "read");
        let refused = async || self.valkey.get(&read).await.is_err_and(|error| error.code() == Some("REDIRECT"));
        eventually("a replica is not read from", refused).await;
        self.admin(&["REPLICAOF", "NO", "ONE"]);
    }

    fn client_kill(&self) {
        for kind in ["normal", "pubsub"] {
            self.admin(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
        }
    }

    async fn idle_timeout(&self) {
        self.admin(&["CONFIG", "SET", "timeout", "1"]);
        tokio::time::sleep(Duration::from_secs(3)).await;
        self.admin(&["CONFIG", "SET", "timeout", "0"]);
    }

    /// Overload: more concurrent calls than the queues take.
    async fn overload(&self) {
        let key = key(&self.valkey, "load");
        eventually("a queue is full", async || {
            join_all((0..2_000).map(|_| self.valkey.get(&key))).await.iter().any(Result::is_err)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_each_fault_every_kind_of_command_is_as_fast_as_before() {
    let drills = DRILLS.iter().map(async |(name, drill)| {
        let world = World::start().await;
        let kinds = Kinds::start(&world.valkey).await;
        let before = kinds.measure().await;
        drill(&world).await;
        let over = Instant::now();
        let control = connect(&settings(&world.proxy.url(&world.server.url()))).await;
        let control = Kinds::start(&control).await;
        let slow = kinds::until_as_fast(&kinds, &before, &control).await;
        println!("{name}: measured until {:?} after it", over.elapsed());
        slow.map(|slow| format!("{name}: {slow}"))
    });
    let slow: Vec<String> = join_all(drills).await.into_iter().flatten().collect();
    assert!(
        slow.is_empty(),
        "still slow long after the fault; look at shared/valkey/src/lane.rs:\n{}",
        slow.join("\n")
    );
}
