//! Time that the machine itself takes for a round of calls: an echo and a PING.
//!
//! Echo is a server of the services' kit that does nothing, and the store is a Valkey of the yardstick's own: no fault strikes either.
//! If they take longer, the machine is busier than it was, and the services' calls take longer by as much.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use keyplane_engine::Valkey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use tokio::time::timeout;
use tonic::transport::Channel;

use super::book::Book;
use super::outcome::Kind;
use crate::Error;
use crate::pb::EchoRequest;
use crate::pb::echo_service_client::EchoServiceClient;
use crate::rig::{self, Services};
use crate::serve::Service;

/// Server that does nothing, and a store.
pub(super) struct Yardstick {
    _services: Services,
    echo: EchoServiceClient<Channel>,
    store: Valkey,
    /// Round in flight; one at a time, since a queue here would not be the machine's fault.
    connection: Mutex<Option<TcpStream>>,
}

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"+PONG\r\n";
const PATIENCE: Duration = Duration::from_secs(2);

// === impl Yardstick ===

impl Yardstick {
    pub(super) async fn start() -> Result<Yardstick, Error> {
        let store = block_in_place(rig::valkey)?;
        let services = Services::start(Service::Session, &store.url(), true, &[("KEYPLANE_LOG", "warn")]).await?;
        let address = services.addresses.echo.ok_or("there is no echo")?;
        let channel = rig::channels(address, 1).await?.remove(0);
        let echo = EchoServiceClient::new(channel);
        Ok(Yardstick { _services: services, echo, store, connection: Mutex::default() })
    }

    /// Makes a round, unless another is in flight. An unanswered one counts by its length alone.
    pub(super) async fn round(&self, book: &Book) {
        let Ok(mut connection) = self.connection.try_lock() else { return };
        let begin = book.clock.mark();
        let echoed = timeout(PATIENCE, self.echo.clone().echo(EchoRequest::default())).await;
        let ponged = timeout(PATIENCE, ping(self.store.port(), &mut connection)).await;
        book.round(begin.at);
        if !matches!((&echoed, &ponged), (Ok(Ok(_)), Ok(Ok(())))) {
            *connection = None;
            return;
        }
        if let Some(part) = book.clock.calm_since(begin) {
            book.samples.record(part, Kind::Control, begin.at.elapsed());
        }
    }
}

async fn ping(port: u16, connection: &mut Option<TcpStream>) -> Result<(), Error> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
            stream.set_nodelay(true)?;
            connection.insert(stream)
        }
    };
    stream.write_all(PING).await?;
    let mut reply = [0; PONG.len()];
    stream.read_exact(&mut reply).await?;
    if reply == PONG { Ok(()) } else { Err("PING is answered otherwise".into()) }
}
