//! TCP proxy that imitates faults of the network.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::background::Background;
use crate::fault::Fault;
use crate::pump;

/// Proxy on a loopback port, before one server. Runs on its own thread, so it works while a test blocks. Dropping it closes
/// all connections.
///
/// Clients of a cluster bypass it: they learn the nodes' own addresses.
pub struct FaultProxy {
    addr: SocketAddr,
    commands: mpsc::UnboundedSender<Command>,
    counts: Arc<Counts>,
    _background: Background,
}

struct Command {
    change: Change,
    done: std::sync::mpsc::Sender<()>,
}

enum Change {
    Fault(Fault),
    Upstream(SocketAddr),
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
}

// === impl FaultProxy ===

impl FaultProxy {
    /// Starts a proxy before `upstream`, without a fault.
    ///
    /// # Panics
    /// No loopback port can be bound.
    #[must_use]
    pub fn start(upstream: SocketAddr) -> FaultProxy {
        let counts = Arc::new(Counts::default());
        let (commands, receive) = mpsc::unbounded_channel();
        let (bound, address) = std::sync::mpsc::channel();
        let shared = Arc::clone(&counts);
        let background = Background::run(move || async move {
            let (listener, addr) = bind_somewhere();
            let _ = bound.send(addr);
            serve(listener, addr, upstream, receive, &shared).await;
        });
        let addr = address.recv().expect("a loopback port can be bound");
        FaultProxy { addr, commands, counts, _background: background }
    }

    /// Starts a proxy before a server on 127.0.0.1, without a fault.
    ///
    /// # Panics
    /// No loopback port can be bound.
    #[must_use]
    pub fn to_port(port: u16) -> FaultProxy {
        FaultProxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// Address of the proxy.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Replaces host and port of `upstream_url` with the proxy's address: `valkey://keyplane:secret@127.0.0.1:7001`
    /// becomes `valkey://keyplane:secret@<addr>`. User, path and query stay.
    #[must_use]
    pub fn url(&self, upstream_url: &str) -> String {
        let authority = upstream_url.find("://").map_or(0, |scheme| scheme + 3);
        let end = upstream_url[authority..].find(['/', '?']).map_or(upstream_url.len(), |end| authority + end);
        let host = upstream_url[authority..end].rfind('@').map_or(authority, |at| authority + at + 1);
        format!("{}{}{}", &upstream_url[..host], self.addr, &upstream_url[end..])
    }

    /// Changes the fault. The new one holds when the call returns: nothing passes that it forbids, and a cut port refuses.
    ///
    /// # Panics
    /// The port can't be bound again after [`Fault::Cut`], since another process took it.
    pub fn set(&self, fault: Fault) {
        self.change(Change::Fault(fault));
    }

    /// Sends new connections to another server, as a name does after a failover. Open ones stay.
    ///
    /// # Panics
    /// The proxy's thread has ended.
    pub fn redirect(&self, upstream: SocketAddr) {
        self.change(Change::Upstream(upstream));
    }

    fn change(&self, change: Change) {
        let (done, finished) = std::sync::mpsc::channel();
        let sent = self.commands.send(Command { change, done });
        assert!(sent.is_ok() && finished.recv().is_ok(), "the proxy lost its port {}", self.addr);
    }

    /// Number of connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// Number of open connections.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }
}

impl std::fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultProxy").field("addr", &self.addr).field("connections", &self.connections()).finish()
    }
}

// === listening ===

async fn serve(
    listener: TcpListener,
    addr: SocketAddr,
    mut upstream: SocketAddr,
    mut commands: mpsc::UnboundedReceiver<Command>,
    counts: &Arc<Counts>,
) {
    let mut listener = Some(listener);
    let (fault, _) = watch::channel(Fault::Pass);
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => {
                let Some(command) = command else { return };
                let new = match command.change {
                    Change::Fault(new) => new,
                    Change::Upstream(other) => {
                        upstream = other;
                        *fault.borrow()
                    }
                };
                if new == Fault::Cut {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(rebind(addr).await);
                }
                fault.send_if_modified(|now| std::mem::replace(now, new) != new);
                if new == Fault::Cut {
                    // They close within a few turns of this thread, and `set` promises that they are closed.
                    while counts.open.load(Ordering::SeqCst) > 0 {
                        tokio::task::yield_now().await;
                    }
                }
                let _ = command.done.send(());
            }
            client = accept(listener.as_ref()) => {
                counts.accepted.fetch_add(1, Ordering::SeqCst);
                counts.open.fetch_add(1, Ordering::SeqCst);
                let (fault, counts) = (fault.subscribe(), Arc::clone(counts));
                tokio::spawn(async move {
                    pump::connection(client, upstream, fault).await;
                    counts.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            // The client has closed already, or this process is short of descriptors for a moment.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Binds a port outside of the kernel's range for clients, unlike port 0: a client that dials a cut port of that range again
/// and again would in the end connect to itself, and keep the port from us.
fn bind_somewhere() -> (TcpListener, SocketAddr) {
    for _ in 0..64 {
        let port = keyplane_engine::free_port().expect("there is a free loopback port");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let Ok(listener) = listen(addr) {
            return (listener, addr);
        }
    }
    panic!("no loopback port can be bound");
}

/// Binds the port again, with retries: a client's connection attempt may hold it for a moment.
async fn rebind(addr: SocketAddr) -> TcpListener {
    crate::eventually("the proxy's port can be bound again", Duration::from_secs(10), async || listen(addr)).await
}

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(1024)
}
