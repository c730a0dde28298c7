//! Model of a session, as its only writer knows it.
//!
//! Writes are based on a version, so that one with an unknown outcome, perhaps still in flight, can happen once at
//! most, and never after a later one.

use crate::load;

/// Session that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::soak) struct Known {
    pub(in crate::soak) name: String,
    pub(in crate::soak) version: i32,
    path: String,
    /// Paths of writes, based on `version`, whose outcome is unknown: one of them may be in force, or may come to be.
    in_doubt: Vec<String>,
}

/// Resource name of a user, by number.
pub(in crate::soak) fn parent(number: usize) -> String {
    format!("tenants/{}/users/soak-{number}", load::TENANT)
}

// === impl Known ===

impl Known {
    pub(in crate::soak) fn created(name: String, version: i32, path: String) -> Result<Known, String> {
        match version {
            1 => Ok(Known { name, version, path, in_doubt: Vec::new() }),
            _ => Err(format!("{name} was created with version {version}")),
        }
    }

    /// Read.
    pub(in crate::soak) fn read(&mut self, version: i32, path: &str) -> Result<(), String> {
        if version == self.version && path == self.path {
            return Ok(());
        }
        if version == self.version + 1 && self.in_doubt.iter().any(|sent| sent == path) {
            self.become_version(version, path);
            return Ok(());
        }
        let (name, known, expected) = (&self.name, self.version, &self.path);
        let in_doubt = self.in_doubt.len();
        Err(format!(
            "{name} was acknowledged at version {known} with {expected} ({in_doubt} writes in doubt), and is read at version {version} with {path}"
        ))
    }

    /// Write was acknowledged.
    pub(in crate::soak) fn written(&mut self, sent: &str, version: i32, path: &str) -> Result<(), String> {
        let (name, known) = (&self.name, self.version);
        if version != known + 1 || path != sent {
            return Err(format!(
                "{name} was at version {known}; a write of {sent} made it version {version} with {path}"
            ));
        }
        self.become_version(version, path);
        Ok(())
    }

    /// Write has an unknown outcome.
    pub(in crate::soak) fn doubt(&mut self, sent: String) {
        self.in_doubt.push(sent);
    }

    /// Notes a write that was rejected for its version: then one in doubt has happened, which the next read shows.
    pub(in crate::soak) fn mismatch(&self) -> Result<(), String> {
        let (name, version) = (&self.name, self.version);
        match self.in_doubt.is_empty() {
            true => Err(format!("{name} is at version {version}, but a write based on it was a STALE_WRITE")),
            false => Ok(()),
        }
    }

    fn become_version(&mut self, version: i32, path: &str) {
        self.version = version;
        path.clone_into(&mut self.path);
        // The others were based on the version before, which is stale.
        self.in_doubt.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known::created("s".to_owned(), 1, "/a".to_owned()).unwrap()
    }

    #[test]
    fn acknowledged_write_is_read() {
        let mut known = known();
        known.read(1, "/a").unwrap();
        known.written("/b", 2, "/b").unwrap();
        known.read(2, "/b").unwrap();
        known.read(1, "/a").unwrap_err();
        known.read(2, "/a").unwrap_err();
        known.read(3, "/c").unwrap_err();
    }

    #[test]
    fn a_write_in_doubt_happened_or_not_and_once() {
        let mut known = known();
        known.mismatch().unwrap_err();
        known.doubt("/b".to_owned());
        known.doubt("/c".to_owned());
        known.read(1, "/a").unwrap();
        known.mismatch().unwrap();
        known.read(2, "/c").unwrap();
        known.read(3, "/b").unwrap_err();
        known.read(1, "/a").unwrap_err();
    }

    #[test]
    fn an_acknowledged_write_ends_all_doubt() {
        let mut known = known();
        known.doubt("/b".to_owned());
        known.written("/c", 2, "/c").unwrap();
        known.read(2, "/b").unwrap_err();
        known.read(3, "/b").unwrap_err();
        known.written("/d", 4, "/d").unwrap_err();
        known.written("/d", 3, "/c").unwrap_err();
    }

    #[test]
    fn a_session_begins_with_version_1() {
        Known::created("s".to_owned(), 2, "/".to_owned()).unwrap_err();
    }
}
