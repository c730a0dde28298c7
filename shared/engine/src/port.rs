//! Free ports.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

/// Ports below Linux's ephemeral range (32768 and up). A client that keeps dialling a dead server on an ephemeral port
/// will one day get that port as its own source port, connect to itself, and block the server's return.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// Finds a loopback port that is free now, below the range that the kernel hands out to clients. Another program may take it
/// first: the caller must retry. Prefer port 0 for a program that reports its port.
///
/// # Errors
/// No port can be bound.
pub fn free_port() -> Result<u16, Error> {
    let width = u64::from(RANGE.end - RANGE.start);
    let task = "looking for a free port";
    let mut last = None;
    for _ in 0..64 {
        let number = getrandom::u64().map_err(|error| Error::io(task)(io::Error::other(error)))?;
        let port = RANGE.start + u16::try_from(number % width).unwrap_or_default();
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(Error::io(task)(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrInUse))))
}
