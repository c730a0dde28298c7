//! Client of the Valkey protocol (RESP2) for single commands.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Reply of a server to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nil.
    Nil,
    /// Integer.
    Int(i64),
    /// Simple or bulk string; invalid UTF-8 is replaced.
    Text(String),
    /// List.
    Array(Vec<Reply>),
    /// Error with its code (`NOAUTH ...`).
    Error(String),
}

/// Connection to a server.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// Longest wait of a call.
const PATIENCE: Duration = Duration::from_secs(5);

/// Deepest nesting of a reply: enough for every command, and safe for the stack.
const MAX_DEPTH: u8 = 16;

// === impl Reply ===

impl Reply {
    /// Text of a string; `None` for other replies.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Reply::Text(text) => Some(text),
            Reply::Nil | Reply::Int(_) | Reply::Array(_) | Reply::Error(_) => None,
        }
    }

    /// Value of an integer; `None` for other replies.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match self {
            Reply::Int(number) => Some(*number),
            Reply::Nil | Reply::Text(_) | Reply::Array(_) | Reply::Error(_) => None,
        }
    }
}

// === impl Connection ===

impl Connection {
    pub(crate) fn open(port: u16) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    pub(crate) fn call(&mut self, args: &[&str]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", args.len());
        for arg in args {
            request.push_str(&format!("${}\r\n{arg}\r\n", arg.len()));
        }
        self.stream.get_mut().write_all(request.as_bytes())?;
        read_reply(&mut self.stream, MAX_DEPTH)
    }
}

fn read_reply(stream: &mut impl BufRead, depth: u8) -> io::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a RESP reply");
    let line = line.strip_suffix("\r\n").ok_or_else(bad)?;
    let kind = line.chars().next().ok_or_else(bad)?;
    let rest = &line[kind.len_utf8()..];
    let number = || rest.parse::<i64>().map_err(|_| bad());
    match kind {
        '+' => Ok(Reply::Text(rest.to_owned())),
        '-' => Ok(Reply::Error(rest.to_owned())),
        ':' => Ok(Reply::Int(number()?)),
        '$' | '*' if number()? < 0 => Ok(Reply::Nil),
        '$' => {
            let length = u64::try_from(number()?).map_err(|_| bad())?;
            let mut bytes = Vec::new();
            stream.take(length + 2).read_to_end(&mut bytes)?;
            let text = bytes.strip_suffix(b"\r\n").ok_or_else(bad)?;
            Ok(Reply::Text(String::from_utf8_lossy(text).into_owned()))
        }
        '*' if depth > 0 => {
            let items = (0..number()?).map(|_| read_reply(stream, depth - 1));
            Ok(Reply::Array(items.collect::<io::Result<_>>()?))
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Reply> {
        read_reply(&mut text.as_bytes(), MAX_DEPTH)
    }

    #[test]
    fn every_kind_of_reply_is_parsed() {
        assert_eq!(read("+OK\r\n").unwrap().text(), Some("OK"));
        assert_eq!(read(":-7\r\n").unwrap().int(), Some(-7));
        assert_eq!(read("$-1\r\n").unwrap(), Reply::Nil);
        assert_eq!(read("$4\r\na\r\nb\r\n").unwrap().text(), Some("a\r\nb"));
        assert_eq!(read("-ERR no\r\n").unwrap(), Reply::Error("ERR no".to_owned()));
        let nested = Reply::Array(vec![Reply::Int(1), Reply::Array(vec![Reply::Text("x".to_owned())])]);
        assert_eq!(read("*2\r\n:1\r\n*1\r\n$1\r\nx\r\n").unwrap(), nested);
    }

    #[test]
    fn truncated_and_endlessly_nested_replies_are_rejected() {
        for text in ["", "+OK", "$4\r\nab", "*2\r\n:1\r\n", "?\r\n", ":x\r\n"] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert!(read(&"*1\r\n".repeat(100)).is_err());
    }
}
