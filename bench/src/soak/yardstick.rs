//! What a call takes that goes the way of the services' calls, and touches neither them nor their connections to the store.
//!
//! A server of the same kit that does nothing, and a PING on a connection of its own: when these take longer, the machine is busier than
//! it was, and the services' calls take longer by as much.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::transport::Channel;

use super::book::Book;
use super::call::Kind;
use crate::Error;
use crate::pb::EchoRequest;
use crate::pb::echo_service_client::EchoServiceClient;
use crate::rig::{self, Services};
use crate::serve::Service;

/// The server that does nothing, and the way to the store.
pub(super) struct Yardstick {
    _services: Services,
    echo: EchoServiceClient<Channel>,
    store: SocketAddr,
    /// Made anew after a fault. One at a time: a queue here would not be the machine's fault.
    connection: Mutex<Option<TcpStream>>,
}

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"+PONG\r\n";
const PATIENCE: Duration = Duration::from_secs(2);

// === impl Yardstick ===

impl Yardstick {
    /// `url`: for the server, which needs a store as any; `store`: where the PING goes.
    pub(super) async fn start(url: &str, store: SocketAddr) -> Result<Yardstick, Error> {
        let services = Services::start(Service::Session, url, true, &[("KEYPLANE_LOG", "warn")]).await?;
        let address = services.addresses.echo.ok_or("there is no echo")?;
        let channel = rig::channels(address, 1).await?.remove(0);
        let echo = EchoServiceClient::new(channel);
        Ok(Yardstick { _services: services, echo, store, connection: Mutex::default() })
    }

    /// One round, unless another is on its way.
    pub(super) async fn round(&self, book: &Book) {
        let Ok(mut connection) = self.connection.try_lock() else { return };
        let begin = book.clock.mark();
        let echoed = timeout(PATIENCE, self.echo.clone().echo(EchoRequest::default())).await;
        // The store may be away; this server is not.
        let calm = book.clock.calm_since(begin).is_some();
        if !calm {
            book.round(begin.at);
        }
        let ponged = timeout(PATIENCE, ping(self.store, &mut connection)).await;
        if !matches!((&echoed, &ponged), (Ok(Ok(_)), Ok(Ok(())))) {
            *connection = None;
            return;
        }
        if let (true, Some(part)) = (calm, book.clock.calm_since(begin)) {
            book.round(begin.at);
            book.samples.record(part, Kind::Control, begin.at.elapsed());
        }
    }
}

async fn ping(store: SocketAddr, connection: &mut Option<TcpStream>) -> Result<(), Error> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(store).await?;
            stream.set_nodelay(true)?;
            connection.insert(stream)
        }
    };
    stream.write_all(PING).await?;
    let mut reply = [0; PONG.len()];
    stream.read_exact(&mut reply).await?;
    if reply == PONG { Ok(()) } else { Err("PING is answered otherwise".into()) }
}
