//! Parsers, one per kind of value; an error is the rule, worded to follow the value.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use url::Url;

/// Parses a duration, which must have a unit: `250ms`, `30s`, `5m`.
///
/// # Errors
///
/// Rule that `text` breaks, worded to follow it.
pub fn duration(text: &str) -> Result<Duration, String> {
    if is_bare_number(text) {
        return Err("needs a unit: write it like 250ms, 30s or 5m".to_owned());
    }
    humantime::parse_duration(text).map_err(|_| "is not a duration: write it like 250ms, 30s or 5m".to_owned())
}

pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    if is_bare_number(text) {
        return Err("needs a unit: write it like 64KiB or 4MiB".to_owned());
    }
    let size: ByteSize = text.parse().map_err(|_| "is not a size: write it like 64KiB or 4MiB".to_owned())?;
    usize::try_from(size.as_u64()).map_err(|_| "is too large".to_owned())
}

pub(crate) fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "is not a number that fits here".to_owned())
}

pub(crate) fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "must be true or false".to_owned())
}

pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an IP address and a port, like 0.0.0.0:50051".to_owned())
}

pub(crate) fn url(text: &str) -> Result<String, String> {
    match Url::parse(text) {
        Ok(url) if url.has_host() => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("is not an address: write it like scheme://host:port".to_owned()),
    }
}

pub(crate) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// `key=value` pairs between commas, as `OTEL_RESOURCE_ATTRIBUTES` has them.
pub(crate) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    list(text)
        .iter()
        .map(|item| match item.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
            Some(_) | None => Err("must be pairs like key=value,key2=value2".to_owned()),
        })
        .collect()
}

pub(crate) fn log_filter(text: &str) -> Result<String, String> {
    keyplane_telemetry::check_filter(text)
        .map(|()| text.to_owned())
        .map_err(|_| "is not a log filter: write it like info or info,keyplane_valkey=debug".to_owned())
}

/// Masks the password of an address with `****`. A text that is no address is hidden whole, since it may hold a password:
/// `user:password@host` is an address with the scheme `user`.
pub(crate) fn mask(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if url.has_host() => {
            if url.password().is_some() && url.set_password(Some("****")).is_err() {
                return hidden(text);
            }
            url.to_string()
        }
        Err(_) if text.is_empty() => String::new(),
        Ok(_) | Err(_) => hidden(text),
    }
}

fn hidden(text: &str) -> String {
    format!("(hidden, since it may hold a password; {} characters)", text.chars().count())
}

fn is_bare_number(text: &str) -> bool {
    text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_required() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(bytes("4MiB"), Ok(4 << 20));
        for bare in ["0", "5", "1.5", "1e3"] {
            assert!(duration(bare).unwrap_err().contains("unit"), "{bare}");
            assert!(bytes(bare).unwrap_err().contains("unit"), "{bare}");
        }
        assert!(duration("soon").is_err());
        assert!(bytes("big").is_err());
    }

    #[test]
    fn passwords_are_masked() {
        assert_eq!(mask("valkeys://u:s3cret@h:6379"), "valkeys://u:****@h:6379");
        assert_eq!(mask("valkey://:s3cret@h:6379"), "valkey://:****@h:6379");
        assert_eq!(mask("valkey://h:6379"), "valkey://h:6379");
        assert!(!mask("u:s3cret@ h").contains("s3cret"));
    }

    #[test]
    fn pairs_of_attributes() {
        assert_eq!(pairs("a=1, b = x=y"), Ok(vec![("a".into(), "1".into()), ("b".into(), "x=y".into())]));
        assert!(pairs("a").is_err());
    }
}
