//! One TCP connection that is never made again. All commands to the store go over a wire.
//!
//! A wire is one fred client with one connection, and ends with it. fred keeps counts of a client across its reconnects
//! that can go wrong; one of them decides whether a command is flushed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{Options, Server};
use fred::types::{ClusterHash, CustomCommand, Message, Value as Fred};
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::{Error, ErrorKind, Value};

/// Capacity for fred's own events; only the first is awaited.
const EVENTS: usize = 4;

/// Connection to one node. Dropping it closes the socket.
pub(crate) struct Wire {
    client: Client,
    state: Arc<State>,
    driver: AbortOnDrop<()>,
}

#[derive(Default)]
struct State {
    broken: AtomicBool,
    /// Wakes the calls in flight when the connection breaks: fred keeps commands that reach it after its last look.
    ended: Notify,
}

/// Task that ends with its owner.
pub(crate) struct AbortOnDrop<T>(pub(crate) JoinHandle<T>);

// === impl Wire ===

impl Wire {
    /// Connects and logs in, for at most `within`. Cancel safe: a dropped attempt leaves no connection.
    pub(crate) async fn connect(endpoint: &Endpoint, server: Server, within: Duration) -> Result<Wire, Error> {
        Wire::drive(endpoint.client(server, EVENTS), within).await
    }

    /// Connects like [`Wire::connect`], to subscribe; at most `messages` wait to be read.
    pub(crate) async fn subscriber(
        endpoint: &Endpoint,
        server: Server,
        messages: usize,
        within: Duration,
    ) -> Result<Wire, Error> {
        Wire::drive(endpoint.client(server, messages), within).await
    }

    async fn drive(client: Client, within: Duration) -> Result<Wire, Error> {
        let state = Arc::new(State::default());
        let mut ready = Box::pin(client.wait_for_connect());
        // The first poll subscribes, so it must come before the driver.
        let early = futures::poll!(ready.as_mut());
        debug_assert!(early.is_pending(), "nothing connects yet");
        let driver = AbortOnDrop(tokio::spawn(drive(client.clone(), state.clone())));
        let connected = tokio::time::timeout(within, async {
            tokio::select! {
                biased;
                connected = ready.as_mut() => connected.map_err(Failure::from_fred),
                () = state.ended.notified() => Err(Failure::broken()),
            }
        });
        let connected = connected.await.unwrap_or_else(|_| Err(Failure::broken()));
        drop(ready);
        connected.map_err(|failure| not_connected(&failure))?;
        Ok(Wire { client, state, driver })
    }

    /// Sends one command and waits for its reply, for at most `patience`.
    ///
    /// Commands go out in the order in which these futures are first polled. fred flushes a custom command at once.
    pub(crate) async fn call(
        &self,
        command: &'static str,
        arguments: Vec<Fred>,
        patience: Duration,
    ) -> Result<Value, Failure> {
        let mut ended = std::pin::pin!(self.state.ended.notified());
        ended.as_mut().enable();
        if self.is_broken() {
            return Err(Failure::unsent());
        }
        // One attempt: a written command is never written again. (fred has no other connection for it, either.)
        let options = Options {
            max_attempts: Some(1),
            max_redirections: Some(0),
            timeout: Some(patience),
            fail_fast: true,
            ..Options::default()
        };
        let client = self.client.with_options(&options);
        let command = CustomCommand::new_static(command, ClusterHash::Random, false);
        tokio::select! {
            biased;
            reply = client.custom_raw(command, arguments) => reply.map_err(Failure::from_fred).and_then(Value::from_frame),
            () = ended => Err(Failure::broken()),
        }
    }

    /// Has a server without cluster mode answer REDIRECT while it is a replica, rather than from data that may be old.
    /// Engines before Valkey 8, and those that hide their replicas, reject the command.
    pub(crate) async fn reject_replicas(&self, patience: Duration) -> Result<(), Failure> {
        let arguments = vec![Fred::from_static_str("CAPA"), Fred::from_static_str("redirect")];
        match self.call("CLIENT", arguments, patience).await {
            Err(failure) if !failure.is_answer() => Err(failure),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Subscribes to `channels` and returns their messages. The server has subscribed once it answers a later call.
    pub(crate) async fn subscribe(&self, channels: Vec<String>) -> Result<broadcast::Receiver<Message>, ()> {
        let messages = self.client.message_rx();
        self.client.subscribe(channels).await.map_err(drop)?;
        Ok(messages)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.state.broken.load(Ordering::Acquire)
    }

    /// Waits until the connection breaks.
    pub(crate) async fn broken(&self) {
        let mut ended = std::pin::pin!(self.state.ended.notified());
        ended.as_mut().enable();
        if !self.is_broken() {
            ended.await;
        }
    }

    /// Closes the socket. Calls in flight fail at once, and so do later ones.
    pub(crate) fn close(&self) {
        self.state.end();
        self.driver.0.abort();
    }
}

// === impl State ===

impl State {
    fn end(&self) {
        self.broken.store(true, Ordering::Release);
        self.ended.notify_waiters();
    }
}

// === impl AbortOnDrop ===

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs until the connection breaks: without a reconnect policy fred ends with it.
async fn drive(client: Client, state: Arc<State>) {
    let mut connection = AbortOnDrop(client.connect());
    // The calls in flight have the reason.
    let _ = (&mut connection.0).await;
    state.end();
    // The permit wakes a waiter that began just now.
    state.ended.notify_one();
}

fn not_connected(failure: &Failure) -> Error {
    let error = Error::from_failure(failure, "connect", false);
    if error.kind() == ErrorKind::Denied {
        return error;
    }
    Error::new(ErrorKind::Unavailable, "connect", "no connection to the store could be made")
}
