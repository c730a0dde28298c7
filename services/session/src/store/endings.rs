//! Ends of sessions: delete one, revoke all.

use keyplane_contracts::names::{SessionId, SessionName, UserName};

use super::{Store, scripts};
use crate::domain::Session;
use crate::error::Error;

// === impl Store ===

impl Store {
    /// Ends a session; with a `version`, only if that is its current one.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::StaleWrite`], or the store's.
    pub async fn delete(&self, name: &SessionName, version: Option<i32>) -> Result<(), Error> {
        let keys = self.keys(&name.user);
        let args = self.args(&keys, [name.session.as_str().into(), i64::from(version.unwrap_or(0)).into()]);
        let key = keys.session(&name.session);
        let reply = self.run(&scripts::DELETE, &keys, &[&key], &args).await?;
        match reply.status.as_str() {
            "VERSION" => Err(Error::StaleWrite { current: reply.only()?.int()? }),
            _ => Ok(()),
        }
    }

    /// Ends all sessions of a user but `except` in one step; returns their number. O(n) in the user's sessions.
    ///
    /// Ends all or none, with `known`: none if a live session is not among them, or has another version.
    ///
    /// # Errors
    ///
    /// [`Error::SessionsChanging`] if `known` lacks a live session, or the store's.
    pub async fn revoke_all(
        &self,
        user: &UserName,
        except: Option<&SessionId>,
        known: Option<&[Session]>,
    ) -> Result<i32, Error> {
        let keys = self.keys(user);
        let mut args =
            self.args(&keys, [except.map_or("", SessionId::as_str).into(), i64::from(known.is_some()).into()]);
        for session in known.unwrap_or_default() {
            args.push(session.name.session.as_str().into());
            args.push(i64::from(session.version).into());
        }
        let reply = self.run(&scripts::REVOKE_ALL, &keys, &[], &args).await?;
        match reply.status.as_str() {
            "VERSION" => Err(Error::SessionsChanging),
            _ => i32::try_from(reply.only()?.int()?).map_err(|_| Error::Corrupt("a count out of range")),
        }
    }
}
