//! Files and packages of the workspace, read from disk or made up by a test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Texts of Rust, Lua and manifest files, by path from the workspace's root.
pub(crate) type Files = BTreeMap<String, String>;

/// Package of the workspace.
pub(crate) struct Package {
    /// Name as code writes it: `keyplane_session`.
    pub(crate) name: String,
    /// Path from the workspace's root: `services/session`.
    pub(crate) folder: String,
    /// Dependencies of every kind, under their own names, as code writes them.
    pub(crate) dependencies: BTreeSet<String>,
}

// === impl Package ===

impl Package {
    pub(crate) fn is_service(&self) -> bool {
        self.folder.starts_with("services/")
    }

    /// Text of a file in `src/`.
    pub(crate) fn source<'a>(&self, files: &'a Files, name: &str) -> Option<&'a str> {
        files.get(&format!("{}/src/{name}", self.folder)).map(String::as_str)
    }

    /// Packages of a made-up tree: each folder with a `src/lib.rs`, named after its last part, without dependencies.
    pub(crate) fn made_up(files: &Files) -> Vec<Package> {
        let folders = files.keys().filter_map(|path| path.strip_suffix("/src/lib.rs"));
        let package = |folder: &str| {
            let name = folder.rsplit('/').next().unwrap_or(folder).replace('-', "_");
            Package { name: format!("keyplane_{name}"), folder: folder.to_owned(), dependencies: BTreeSet::new() }
        };
        folders.map(package).collect()
    }
}

/// Every file that a rule is about; folders that hold built or fetched files are left out.
pub(crate) fn read() -> Files {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut files = Files::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                let is_made = name.starts_with('.') || name == "target" || name == "node_modules";
                folders.extend((!is_made).then_some(path));
            } else if [".rs", ".lua", ".toml"].iter().any(|end| name.ends_with(end)) {
                let text = std::fs::read_to_string(&path).unwrap();
                files.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), text);
            }
        }
    }
    files
}

/// Packages as `cargo metadata` lists them.
pub(crate) fn packages() -> Vec<Package> {
    let root = root();
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(&root);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let code_name = |value: &Value| value.as_str().unwrap().replace('-', "_");
    let package = |value: &Value| {
        let manifest = Path::new(value["manifest_path"].as_str().unwrap());
        let folder = manifest.parent().unwrap().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let dependencies = value["dependencies"].as_array().unwrap();
        let dependencies = dependencies.iter().map(|dependency| code_name(&dependency["name"])).collect();
        Package { name: code_name(&value["name"]), folder, dependencies }
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}
