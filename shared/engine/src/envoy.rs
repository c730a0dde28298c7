//! Envoy proxy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Error;
use crate::process::{Process, Spec};
use crate::toolbox::Toolbox;
use crate::tools::Tool;

/// Longest time until Envoy is ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Running Envoy. Dropping it stops it.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

// === impl Envoy ===

impl Envoy {
    /// Fetches Envoy if it is missing, starts it with this configuration, and blocks until `/ready` is 200. The
    /// configuration must have an `admin` address; port 0 there and in listeners avoids collisions.
    ///
    /// # Errors
    /// Envoy can't be fetched, or does not become ready; the error shows the end of its log.
    pub fn start(toolbox: &Toolbox, yaml: &str) -> Result<Envoy, Error> {
        toolbox.ensure(&[Tool::Envoy])?;
        let (folder, config) = write_config(yaml)?;
        let address = folder.path().join("admin-address");
        // Without hot restart no two Envoys share memory, and none needs a base id.
        let spec = Spec::new(toolbox.path(Tool::Envoy)?)
            .args(["--concurrency", "2", "--disable-hot-restart", "--log-level", "warn", "--config-path"])
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&address)
            .log_to(folder.path().join("envoy.log"))
            .remove_when_orphaned(folder.path());
        let process = Process::spawn(spec)?;
        let admin = process.wait_until(PATIENCE, || {
            let admin = std::fs::read_to_string(&address).ok()?.trim().parse().ok()?;
            let (status, _) = call(admin, "GET", "/ready").ok()?;
            (status == 200).then_some(admin)
        })?;
        Ok(Envoy { process, admin, _folder: folder })
    }

    /// Checks a configuration without running it: listeners, filters, and all files that it names.
    ///
    /// # Errors
    /// [`Error::Configuration`] with Envoy's output if Envoy rejects it.
    pub fn validate(toolbox: &Toolbox, yaml: &str) -> Result<(), Error> {
        toolbox.ensure(&[Tool::Envoy])?;
        let (_folder, config) = write_config(yaml)?;
        let output = Command::new(toolbox.path(Tool::Envoy)?)
            .args(["--mode", "validate", "--log-level", "warn", "--config-path"])
            .arg(&config)
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io("running envoy"))?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        Err(Error::Configuration { program: "envoy", output: crate::process::tail(&text, 20) })
    }

    /// Address of the admin interface.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Bound address of the listener `name`, which the configuration may give port 0.
    ///
    /// # Errors
    /// The admin interface does not answer, or no listener has this name.
    pub fn listener(&self, name: &str) -> Result<SocketAddr, Error> {
        let text = self.admin_get("/listeners")?;
        let address = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("::")?.parse().ok());
        address.ok_or_else(|| {
            let task = format!("looking for the listener {name} among:\n{text}");
            Error::io(task)(std::io::Error::from(std::io::ErrorKind::NotFound))
        })
    }

    /// Gets a path of the admin interface, such as `/stats?filter=http`; returns the body.
    ///
    /// # Errors
    /// No answer, or another status than 200.
    pub fn admin_get(&self, path: &str) -> Result<String, Error> {
        self.ask("GET", path)
    }

    /// Posts to a path of the admin interface, such as `/drain_listeners`.
    ///
    /// # Errors
    /// No answer, or another status than 200.
    pub fn admin_post(&self, path: &str) -> Result<(), Error> {
        self.ask("POST", path).map(drop)
    }

    fn ask(&self, method: &str, path: &str) -> Result<String, Error> {
        let task = format!("asking envoy's admin interface for {path}");
        let (status, body) = call(self.admin, method, path).map_err(Error::io(task.clone()))?;
        match status {
            200 => Ok(body),
            _ => Err(Error::io(task)(std::io::Error::other(format!("status {status}: {body}")))),
        }
    }

    /// Process, to signal it or to wait for its end.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Sends SIGTERM, and kills Envoy if it still runs after five seconds.
    ///
    /// # Errors
    /// Envoy can't be stopped.
    pub fn stop(self) -> Result<(), Error> {
        self.process.stop(Duration::from_secs(5)).map(drop)
    }
}

fn write_config(yaml: &str) -> Result<(tempfile::TempDir, PathBuf), Error> {
    let folder = tempfile::Builder::new().prefix("keyplane-envoy-").tempdir();
    let folder = folder.map_err(Error::io("making a temporary folder"))?;
    let path: &Path = &folder.path().join("envoy.yaml");
    std::fs::write(path, yaml).map_err(Error::io(format!("writing {}", path.display())))?;
    let path = path.to_owned();
    Ok((folder, path))
}

/// Sends an HTTP/1.1 request without a body (Envoy rejects HTTP/1.0).
fn call(address: SocketAddr, method: &str, path: &str) -> std::io::Result<(u16, String)> {
    let patience = Duration::from_secs(5);
    let bad = || std::io::Error::other("not an HTTP response");
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let head = format!("{method} {path} HTTP/1.1\r\nhost: envoy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let response = String::from_utf8_lossy(&response);
    let (head, body) = response.split_once("\r\n\r\n").ok_or_else(bad)?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Ok((status, body.to_owned()));
    }
    Ok((status, join_chunks(body).ok_or_else(bad)?))
}

fn join_chunks(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..size)?);
        body = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(join_chunks("3\r\nabc\r\n2\r\n\r\n\r\n0\r\n\r\n").as_deref(), Some("abc\r\n"));
        assert_eq!(join_chunks("0\r\n\r\n").as_deref(), Some(""));
        for broken in ["", "3\r\nab", "x\r\nabc\r\n", "3\r\nabc"] {
            assert_eq!(join_chunks(broken), None, "{broken:?}");
        }
    }
}
