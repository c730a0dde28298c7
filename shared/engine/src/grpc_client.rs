//! gRPC client for the command line: grpcurl, or else `buf curl`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Process, Spec, tail};
use crate::toolbox::Toolbox;
use crate::tools::Tool;
use crate::{Error, progress};

const VERSION: &str = "1.9.4";
const MODULE: &str = "github.com/fullstorydev/grpcurl/cmd/grpcurl";

/// Longest time for Go to download and build grpcurl. A machine with two cores needs a minute.
const PATIENCE: Duration = Duration::from_secs(300);

/// Program that calls gRPC services by reflection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcClient {
    /// Program `grpcurl`.
    Grpcurl(PathBuf),
    /// Program `buf`, whose command `curl` takes other options.
    BufCurl(PathBuf),
}

// === impl GrpcClient ===

impl GrpcClient {
    /// Finds `grpcurl` on the `PATH`, or has Go install it into the toolbox, once. Takes the toolbox's `buf` if Go is missing
    /// or fails (no network, too old). Reports installs and their failures on standard error. Blocks for a download, and at
    /// most 5 minutes for Go.
    ///
    /// # Errors
    /// Neither can be had: buf can't be fetched.
    pub fn ensure(toolbox: &Toolbox) -> Result<GrpcClient, Error> {
        GrpcClient::ensure_with(toolbox, &std::env::var_os("PATH").unwrap_or_default())
    }

    fn ensure_with(toolbox: &Toolbox, path: &OsStr) -> Result<GrpcClient, Error> {
        if let Some(grpcurl) = program("grpcurl", path) {
            return Ok(GrpcClient::Grpcurl(grpcurl));
        }
        let installed = toolbox.entry(&folder_name()).join("grpcurl");
        if installed.exists() {
            return Ok(GrpcClient::Grpcurl(installed));
        }
        if let Some(go) = program("go", path) {
            match install(toolbox, &go) {
                Ok(()) => return Ok(GrpcClient::Grpcurl(installed)),
                Err(error) => progress::note(&format!("no grpcurl, so buf curl takes its place: {error}")),
            }
        }
        GrpcClient::buf(toolbox)
    }

    /// `buf curl`, even if there is a grpcurl.
    ///
    /// # Errors
    /// The program can't be fetched.
    pub fn buf(toolbox: &Toolbox) -> Result<GrpcClient, Error> {
        toolbox.ensure(&[Tool::Buf])?;
        toolbox.path(Tool::Buf).map(GrpcClient::BufCurl)
    }
}

fn folder_name() -> String {
    format!("grpcurl-{VERSION}")
}

fn install(toolbox: &Toolbox, go: &Path) -> Result<(), Error> {
    let label = format!("grpcurl {VERSION}");
    let announced = format!("installing {label} with go");
    toolbox.install(&folder_name(), announced, format!("installed {label}"), |scratch| {
        let bin = scratch.join("bin");
        let task = format!("go install {MODULE}@v{VERSION}");
        std::fs::create_dir(&bin).map_err(Error::io(task.clone()))?;
        let spec = Spec::new(go).name("go install").args(["install", &format!("{MODULE}@v{VERSION}")]);
        let process = Process::spawn(spec.env("GOBIN", &bin))?;
        let failed = |detail: String| Error::io(task)(io::Error::other(detail));
        match process.wait_exit(PATIENCE) {
            Some(exit) if exit.success() && bin.join("grpcurl").exists() => Ok(bin),
            Some(exit) => Err(failed(format!("it ended with {exit}:\n{}", tail(&process.log(), 6)))),
            None => Err(failed(format!("it did not end within {PATIENCE:?}"))),
        }
    })
}

/// Executable file `name` in the first folder of `path` that has one.
fn program(name: &str, path: &OsStr) -> Option<PathBuf> {
    let is_executable = |file: &PathBuf| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).map(|folder| folder.join(name)).find(is_executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Toolbox whose buf is `/bin/sh`, and a folder of scripts as the `PATH`.
    fn setup(scripts: &[(&str, &str)]) -> (tempfile::TempDir, Toolbox, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("path");
        std::fs::create_dir(&path).unwrap();
        for (name, script) in scripts {
            let file = path.join(name);
            std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let toolbox = Toolbox::at(folder.path().join("toolbox")).with_override(Tool::Buf, "/bin/sh");
        (folder, toolbox, path)
    }

    #[test]
    fn grpcurl_of_the_path_is_preferred() {
        let (_folder, toolbox, path) = setup(&[("grpcurl", ""), ("go", "exit 1")]);
        let client = GrpcClient::ensure_with(&toolbox, path.as_os_str()).unwrap();
        assert_eq!(client, GrpcClient::Grpcurl(path.join("grpcurl")));
    }

    /// Covers both in one test: a script can't run while another thread's new child still has it open for writing.
    #[test]
    fn go_installs_grpcurl_once_and_buf_replaces_a_missing_or_failing_go() {
        let go = r#"echo "$*" >>"$(dirname "$0")/calls"; : >"$GOBIN/grpcurl""#;
        let (_folder, toolbox, path) = setup(&[("go", go)]);
        for _ in 0..2 {
            let client = GrpcClient::ensure_with(&toolbox, path.as_os_str()).unwrap();
            assert_eq!(client, GrpcClient::Grpcurl(toolbox.entry(&folder_name()).join("grpcurl")));
        }
        let calls = std::fs::read_to_string(path.join("calls")).unwrap();
        assert_eq!(calls, format!("install {MODULE}@v{VERSION}\n"));

        for scripts in [&[][..], &[("go", "echo no network; exit 1")][..], &[("go", "exit 0")][..]] {
            let (_folder, toolbox, path) = setup(scripts);
            let client = GrpcClient::ensure_with(&toolbox, path.as_os_str()).unwrap();
            assert_eq!(client, GrpcClient::BufCurl("/bin/sh".into()), "{scripts:?}");
            assert!(!toolbox.entry(&folder_name()).exists());
        }
    }
}
