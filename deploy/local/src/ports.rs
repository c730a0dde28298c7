//! Ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

/// Below the ports that the kernel gives to clients: one that keeps dialling a dead server must not be given that
/// server's port as its own, and so connect to itself.
const FREE: std::ops::Range<u16> = 12_000..32_000;

/// A port that was free a moment ago.
///
/// # Errors
///
/// When 64 random ports were all taken.
pub fn free_port() -> Result<u16, Error> {
    for _ in 0..64 {
        let random =
            getrandom::u32().map_err(|error| Error::io("asking for random bytes")(std::io::Error::other(error)))?;
        let offset = random % u32::from(FREE.end - FREE.start);
        let port = FREE.start + u16::try_from(offset).unwrap_or_default();
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(Error::io("looking for a free port")(std::io::ErrorKind::AddrInUse.into()))
}

/// `port` if it is free, or any free one for 0.
pub(crate) fn claim(what: &'static str, port: u16, flag: &'static str) -> Result<u16, Error> {
    if port == 0 {
        return free_port();
    }
    if is_free(port) { Ok(port) } else { Err(Error::PortTaken { what, port, flag }) }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{claim, free_port};
    use std::net::TcpListener;

    #[test]
    fn a_taken_port_is_told_with_its_flag() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = claim("the gateway", port, "--gateway-port").unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--gateway-port"), "{error}");
        drop(listener);
        assert_eq!(claim("the gateway", port, "--gateway-port").unwrap(), port);
    }

    #[test]
    fn free_ports_are_not_the_kernels() {
        assert!((12_000..32_000).contains(&free_port().unwrap()));
    }
}
