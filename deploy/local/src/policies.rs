//! Rate limit policies file: the mesh's own, to be edited while it runs, unless another is named.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Options};

/// Setting that names the file.
pub(crate) const SETTING: &str = "KEYPLANE_RATELIMIT_POLICIES";
/// Contents of a new file.
const SHIPPED: &str = include_str!("../policies.yaml");

/// Path of the file that `options` or the environment name, else of the one in the mesh's folder, made if it is missing.
pub(crate) fn file(options: &Options) -> Result<PathBuf, Error> {
    match options.setting(SETTING) {
        Some(named) => Ok(PathBuf::from(named)),
        None => own(&options.folder),
    }
}

fn own(folder: &Path) -> Result<PathBuf, Error> {
    let path = folder.join("policies.yaml");
    let written = match File::create_new(&path) {
        Ok(mut file) => file.write_all(SHIPPED.as_bytes()),
        // Keep edits.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    written.map_err(Error::io(format!("writing {}", path.display())))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use keyplane_rate_limiting::peers::policy_file::Contents;

    use super::{SETTING, SHIPPED, file};
    use crate::Options;

    #[test]
    fn shipped_policies_are_valid() {
        let contents = Contents::parse(SHIPPED).unwrap();
        let ids: Vec<_> = contents.policies.iter().map(|policy| policy.id.as_str()).collect();
        assert_eq!(ids, ["user-api", "tenant-api", "oauth2-revoke", "llm-tokens"]);
        // The gateway must not charge policies that services charge.
        let of_gateway = contents.policies.iter().filter(|policy| policy.domain == "keyplane");
        assert_eq!(of_gateway.map(|policy| policy.id.as_str()).collect::<Vec<_>>(), ids[..3]);
    }

    #[test]
    fn file_is_made_once_and_keeps_edits() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::on_free_ports("keyplane-up", folder.path());
        let path = file(&options).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), SHIPPED);
        std::fs::write(&path, "policies: []\n").unwrap();
        assert_eq!(file(&options).unwrap(), path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "policies: []\n");

        options.settings.push((SETTING.to_owned(), "/elsewhere.yaml".to_owned()));
        assert_eq!(file(&options).unwrap(), std::path::Path::new("/elsewhere.yaml"));
    }
}
