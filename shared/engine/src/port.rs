//! Free ports.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

/// Below Linux's ephemeral range (32768 and up). A client that keeps dialling a dead server on an ephemeral port will
/// some time be given that very port as its own source port, connect to itself, and so keep the server from returning.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A loopback port that was free a moment ago, below the range that the kernel hands out to clients. Somebody may take
/// it before its user binds it: the user must retry. Where a program can bind port 0 and say what it got, that is better.
///
/// # Errors
/// When no port can be bound.
pub fn free_port() -> Result<u16, Error> {
    let width = u64::from(RANGE.end - RANGE.start);
    let what = "looking for a free port";
    let mut last = None;
    for _ in 0..64 {
        let number = getrandom::u64().map_err(|error| Error::io(what)(io::Error::other(error)))?;
        let port = RANGE.start + u16::try_from(number % width).unwrap_or_default();
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(Error::io(what)(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrInUse))))
}
