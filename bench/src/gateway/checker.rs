//! Check of a body by itself, in this process.

use std::hint::black_box;
use std::time::{Duration, Instant};

use keyplane_gateway::guard::Guard;
use serde::Serialize;

use crate::{Error, load};

/// Check of one body, repeated on one core.
#[derive(Debug, Serialize)]
pub(super) struct Checked {
    pub(super) body: &'static str,
    pub(super) bytes: usize,
    pub(super) micros: f64,
}

/// Largest body that the gateway takes, in bytes.
const LARGEST: usize = 1 << 20;

/// Checks a session, and a batch of revocations as large as it may be, each for `length`.
pub(super) fn measure(length: Duration) -> Result<Vec<Checked>, Error> {
    let guard = Guard::new()?;
    let session = "/keyplane.session.v1.SessionService/CreateSession";
    let batch = "/keyplane.revocation.v1.RevocationService/BatchRevoke";
    Ok(vec![
        check(&guard, "a session", session, &load::sample_json(), length)?,
        check(&guard, "a batch of revocations", batch, &largest_batch(), length)?,
    ])
}

fn check(guard: &Guard, name: &'static str, path: &str, body: &str, length: Duration) -> Result<Checked, Error> {
    let (start, mut times) = (Instant::now(), 0_u32);
    while times == 0 || start.elapsed() < length {
        let checked = guard.check(black_box(path), "", black_box(body.as_bytes()));
        black_box(checked).map_err(|report| format!("{name} is rejected: {}", report.unwrap_or_default()))?;
        times += 1;
    }
    let micros = start.elapsed().as_secs_f64() * 1e6 / f64::from(times);
    Ok(Checked { body: name, bytes: body.len(), micros })
}

fn largest_batch() -> String {
    let (mut body, mut number) = (String::from(r#"{"requests":["#), 0_u32);
    loop {
        let item = format!(r#"{{"token":{{"issuer":"https://login.example","jti":"token-{number}"}}}}"#);
        if body.len() + item.len() + 3 > LARGEST {
            return body + "]}";
        }
        if number > 0 {
            body.push(',');
        }
        body.push_str(&item);
        number += 1;
    }
}
