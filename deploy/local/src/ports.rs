//! Ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

use keyplane_engine::free_port;

use crate::Error;

/// Returns `port` if it is free, or any free port for 0. `part` names its user in the error.
pub(crate) fn claim(part: &str, port: u16, flag: &str) -> Result<u16, Error> {
    if port == 0 {
        return Ok(free_port()?);
    }
    match is_free(port) {
        true => Ok(port),
        false => Err(Error::PortTaken { part: part.to_owned(), port, flag: flag.to_owned() }),
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::claim;
    use std::net::TcpListener;

    #[test]
    fn taken_port_is_reported_with_its_option() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = claim("the gateway", port, "--gateway-port").unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--gateway-port"), "{error}");
        drop(listener);
        assert_eq!(claim("the gateway", port, "--gateway-port").unwrap(), port);
    }
}
