//! Raw connection to Valkey (RESP2, bytes as they are): records the commands of a search, replays them, and writes bare hashes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use keyplane_engine::Valkey;
use url::Url;

use crate::Error;

/// Arguments of a command.
pub(super) type Command = Vec<Vec<u8>>;

/// Connection, logged in as the engine's administrator.
pub(super) struct Wire(BufReader<TcpStream>);

/// Reply: a text's bytes, or the items of a list.
pub(super) enum Reply {
    Bytes(Vec<u8>),
    List(Vec<Reply>),
    Other,
}

/// Longest wait for one reply.
const PATIENCE: Duration = Duration::from_secs(30);
/// Command that ends a recording.
const END: &[u8] = b"end-of-recording";

// === impl Wire ===

impl Wire {
    pub(super) fn open(engine: &Valkey) -> Result<Wire, Error> {
        let url = Url::parse(&engine.admin_url())?;
        let stream = TcpStream::connect(("127.0.0.1", engine.port()))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut wire = Wire(BufReader::with_capacity(1 << 18, stream));
        if let Some(password) = url.password() {
            let user = if url.username().is_empty() { "default" } else { url.username() };
            wire.call(&["AUTH", user, password].map(|text| text.as_bytes().to_vec()))?;
        }
        Ok(wire)
    }

    pub(super) fn call(&mut self, command: &[Vec<u8>]) -> Result<Reply, Error> {
        self.send(std::slice::from_ref(&command.to_vec()))?;
        self.reply()
    }

    /// Sends the commands together and waits for all replies; returns the time that it took.
    pub(super) fn pipeline(&mut self, commands: &[Command]) -> Result<Duration, Error> {
        let start = Instant::now();
        self.send(commands)?;
        for _ in commands {
            self.reply()?;
        }
        Ok(start.elapsed())
    }

    pub(super) fn send(&mut self, commands: &[Command]) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(commands.iter().flatten().map(|arg| arg.len() + 16).sum());
        for command in commands {
            bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for arg in command {
                bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                bytes.extend_from_slice(arg);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        Ok(self.0.get_mut().write_all(&bytes)?)
    }

    pub(super) fn reply(&mut self) -> Result<Reply, Error> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let (kind, rest) = line.trim_end().split_at_checked(1).ok_or("Valkey closed the connection")?;
        match kind {
            "-" => Err(format!("Valkey: {rest}").into()),
            "$" => {
                let Ok(length) = rest.parse::<usize>() else { return Ok(Reply::Other) };
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Ok(Reply::Bytes(bytes))
            }
            "*" => {
                let items = (0..rest.parse::<usize>().unwrap_or(0)).map(|_| self.reply());
                Ok(Reply::List(items.collect::<Result<_, _>>()?))
            }
            "+" => Ok(Reply::Bytes(rest.as_bytes().to_vec())),
            _ => Ok(Reply::Other),
        }
    }

    /// Starts to record every command that the engine runs.
    pub(super) fn record(engine: &Valkey) -> Result<Wire, Error> {
        let mut wire = Wire::open(engine)?;
        wire.call(&[b"MONITOR".to_vec()])?;
        Ok(wire)
    }

    /// Ends a recording: the commands in their order, without those that scripts ran.
    pub(super) fn recorded(mut self, engine: &Valkey) -> Result<Vec<Command>, Error> {
        Wire::open(engine)?.call(&[b"ECHO".to_vec(), END.to_vec()])?;
        let mut commands = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err("Valkey ended the recording".into());
            }
            let Some((source, text)) = line.split_once("] ") else { continue };
            if source.ends_with("lua") {
                continue;
            }
            let command = unquoted(text.trim_end())?;
            if command.get(1).is_some_and(|arg| arg == END) {
                return Ok(commands);
            }
            commands.push(command);
        }
    }
}

// === impl Reply ===

impl Reply {
    pub(super) fn list(self) -> Vec<Reply> {
        match self {
            Reply::List(items) => items,
            Reply::Bytes(_) | Reply::Other => Vec::new(),
        }
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        match self {
            Reply::Bytes(bytes) => bytes,
            Reply::List(_) | Reply::Other => Vec::new(),
        }
    }
}

/// Every hash under a prefix, as the `HSET` that writes it.
pub(super) fn hashes(wire: &mut Wire, prefix: &str) -> Result<Vec<Command>, Error> {
    let (mut cursor, mut hashes) = (b"0".to_vec(), Vec::new());
    loop {
        let pattern = format!("{prefix}*").into_bytes();
        let scan: Command =
            [b"SCAN".to_vec(), cursor, b"MATCH".to_vec(), pattern, b"COUNT".to_vec(), b"5000".to_vec()].into();
        let mut page = wire.call(&scan)?.list().into_iter();
        cursor = page.next().map(Reply::bytes).unwrap_or_default();
        let keys: Vec<_> = page.next().map(Reply::list).unwrap_or_default().into_iter().map(Reply::bytes).collect();
        let reads: Vec<Command> = keys.iter().map(|key| vec![b"HGETALL".to_vec(), key.clone()]).collect();
        wire.send(&reads)?;
        for key in keys {
            let fields = wire.reply()?.list().into_iter().map(Reply::bytes);
            hashes.push([b"HSET".to_vec(), key].into_iter().chain(fields).collect());
        }
        if cursor == b"0" || cursor.is_empty() {
            return Ok(hashes);
        }
    }
}

/// Arguments in a line of MONITOR: quoted, with C's escapes.
fn unquoted(text: &str) -> Result<Command, io::Error> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "MONITOR's line has another form");
    let (mut args, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' => continue,
            b'"' => {}
            _ => return Err(bad()),
        }
        let mut arg = Vec::new();
        loop {
            match bytes.next().ok_or_else(bad)? {
                b'"' => break,
                b'\\' => arg.push(match bytes.next().ok_or_else(bad)? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'x' => {
                        let digits = [bytes.next().ok_or_else(bad)?, bytes.next().ok_or_else(bad)?];
                        let digits = std::str::from_utf8(&digits).map_err(|_| bad())?;
                        u8::from_str_radix(digits, 16).map_err(|_| bad())?
                    }
                    other => other,
                }),
                other => arg.push(other),
            }
        }
        args.push(arg);
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_arguments_are_read_as_sent() {
        let args = unquoted(r#""FT.SEARCH" "a\"b\\" "\xc3\xa4\x00" """#).expect("a line");
        assert_eq!(args, [b"FT.SEARCH".to_vec(), b"a\"b\\".to_vec(), vec![0xc3, 0xa4, 0], Vec::new()]);
        for bad in ["x", "\"x", r#""\x4"#] {
            assert!(unquoted(bad).is_err(), "{bad}");
        }
    }
}
