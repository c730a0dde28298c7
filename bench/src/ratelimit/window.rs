//! Fixed window as most keep it: `INCRBY` and `EXPIRE` of a key, written together. Not exact, not all or nothing: a yardstick.

use keyplane_engine::Valkey;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::Error;

/// Connection for each worker.
pub(super) struct Windows {
    connections: Vec<Mutex<BufReader<TcpStream>>>,
}

// === impl Windows ===

impl Windows {
    pub(super) async fn connect(valkey: &Valkey, workers: usize) -> Result<Windows, Error> {
        let mut connections = Vec::with_capacity(workers);
        for _ in 0..workers {
            let stream = TcpStream::connect(("127.0.0.1", valkey.port())).await?;
            stream.set_nodelay(true)?;
            connections.push(Mutex::new(BufReader::new(stream)));
        }
        Ok(Windows { connections })
    }

    /// Counts one in the window of `key`; bytes of the reply.
    pub(super) async fn hit(&self, worker: usize, key: &str) -> Result<u64, Error> {
        let mut connection = self.connections[worker % self.connections.len()].lock().await;
        let length = key.len();
        let commands = format!(
            "*3\r\n$6\r\nINCRBY\r\n${length}\r\n{key}\r\n$1\r\n1\r\n*3\r\n$6\r\nEXPIRE\r\n${length}\r\n{key}\r\n$4\r\n3600\r\n"
        );
        connection.get_mut().write_all(commands.as_bytes()).await?;
        let mut size = 0;
        for _ in 0..2 {
            let mut line = String::with_capacity(16);
            size += connection.read_line(&mut line).await? as u64;
            if !line.starts_with(':') {
                return Err(format!("INCRBY and EXPIRE are answered {:?}", line.trim_end()).into());
            }
        }
        Ok(size)
    }
}
