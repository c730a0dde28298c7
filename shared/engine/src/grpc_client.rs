//! A gRPC client for the command line: grpcurl, or `buf curl` where there is none.

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

/// How long Go may take to download and build it. A machine of two cores needs a minute.
const PATIENCE: Duration = Duration::from_secs(300);

/// A program that calls gRPC services by reflection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcClient {
    /// The program `grpcurl`.
    Grpcurl(PathBuf),
    /// The program `buf`, whose command `curl` does the same with other options.
    BufCurl(PathBuf),
}

// === impl GrpcClient ===

impl GrpcClient {
    /// The `grpcurl` of the `PATH`; else one that Go installs into the toolbox, once; else, where there is no Go or it
    /// can't (no network, too old), the toolbox's `buf`. Says on standard error what it installs, and why not. Blocks
    /// for as long as a download takes, and at most 5 minutes for Go.
    ///
    /// # Errors
    /// When buf is needed too, and can't be fetched.
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

    /// `buf curl`, whatever else there is.
    ///
    /// # Errors
    /// When it can't be fetched.
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
        let what = format!("go install {MODULE}@v{VERSION}");
        std::fs::create_dir(&bin).map_err(Error::io(what.clone()))?;
        let spec = Spec::new(go).name("go install").args(["install", &format!("{MODULE}@v{VERSION}")]);
        let process = Process::spawn(spec.env("GOBIN", &bin))?;
        let failed = |detail: String| Error::io(what)(io::Error::other(detail));
        match process.wait_exit(PATIENCE) {
            Some(exit) if exit.success() && bin.join("grpcurl").exists() => Ok(bin),
            Some(exit) => Err(failed(format!("it ended with {exit}:\n{}", tail(&process.log(), 6)))),
            None => Err(failed(format!("it did not end within {PATIENCE:?}"))),
        }
    })
}

/// The executable file `name` in the first folder of `path` that has one.
fn program(name: &str, path: &OsStr) -> Option<PathBuf> {
    let is_executable = |file: &PathBuf| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).map(|folder| folder.join(name)).find(is_executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A toolbox whose buf is `/bin/sh`, and a folder to be the `PATH`, with these scripts in it.
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
    fn takes_the_grpcurl_of_the_path() {
        let (_folder, toolbox, path) = setup(&[("grpcurl", ""), ("go", "exit 1")]);
        let client = GrpcClient::ensure_with(&toolbox, path.as_os_str()).unwrap();
        assert_eq!(client, GrpcClient::Grpcurl(path.join("grpcurl")));
    }

    /// One test for both, since a script can't be run while another thread's new child still has it open for writing.
    #[test]
    fn lets_go_install_it_once_and_takes_buf_where_go_is_missing_or_fails() {
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
