//! Allowed answers to a check of a token.

use std::time::Duration;

/// Knowledge about a revocation.
#[derive(Clone, Copy, Debug)]
pub(in crate::soak) struct Promise {
    /// Time from the acknowledgement to the beginning of the check.
    pub(in crate::soak) age: Duration,
    /// Acknowledged as safe from loss.
    pub(in crate::soak) safe: bool,
    /// Somebody takes it back, or has.
    pub(in crate::soak) undoing: bool,
}

/// Good tokens that were rejected after the store had lost data, when filters answer for it.
#[derive(Debug, Default)]
pub(in crate::soak) struct LookAlikes(Vec<u64>);

/// Promise.
pub(in crate::soak) const BOUND: Duration = Duration::from_millis(100);
/// Time after its undo from which a token must be good.
const UNDONE: Duration = Duration::from_secs(1);
/// Good tokens in a thousand that may be rejected after a loss; by default one in 10,000 looks like a revoked one.
const LOOK_ALIKES: usize = 3;

/// Check of a revoked token; `None` where nothing is promised.
pub(in crate::soak) fn revoked(promise: Promise, active: bool) -> Option<Result<(), String>> {
    let Promise { age, safe, undoing } = promise;
    if age < BOUND || undoing || !safe {
        return None;
    }
    Some(if active { Err(format!("a check begun {age:.2?} after the acknowledgement was ACTIVE")) } else { Ok(()) })
}

/// Check of a token whose revocation was undone `age` before the check began; `None` where nothing is promised.
pub(in crate::soak) fn undone(age: Duration, kept: bool, refused: bool) -> Option<Result<(), String>> {
    if age < UNDONE || !kept {
        return None;
    }
    Some(if refused { Err(format!("undone {age:.1?} before a check that rejected it")) } else { Ok(()) })
}

// === impl LookAlikes ===

impl LookAlikes {
    /// Check of a token that nobody revoked. `lossy`: the store has lost data before.
    pub(in crate::soak) fn good(&mut self, token: u64, lossy: bool, refused: bool) -> Result<(), String> {
        if !refused {
            return Ok(());
        }
        if !self.0.contains(&token) {
            self.0.push(token);
        }
        let count = self.0.len();
        if lossy && count <= LOOK_ALIKES {
            return Ok(());
        }
        Err(format!("good token {token} was rejected ({count} of them so far)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(millis: u64) -> Promise {
        Promise { age: Duration::from_millis(millis), safe: true, undoing: false }
    }

    #[test]
    fn a_late_active_is_seen() {
        assert!(revoked(promise(99), true).is_none());
        assert!(revoked(promise(100), true).unwrap().is_err());
        assert!(revoked(promise(100), false).unwrap().is_ok());
        assert!(revoked(Promise { safe: false, ..promise(500) }, true).is_none());
        assert!(revoked(Promise { undoing: true, ..promise(500) }, true).is_none());
    }

    #[test]
    fn an_undone_token_that_is_refused_is_seen() {
        assert!(undone(Duration::from_millis(900), true, true).is_none());
        assert!(undone(Duration::from_secs(2), false, true).is_none());
        assert!(undone(Duration::from_secs(2), true, true).unwrap().is_err());
        assert!(undone(Duration::from_secs(2), true, false).unwrap().is_ok());
    }

    #[test]
    fn a_good_token_that_is_refused_is_seen_but_for_a_few_after_a_loss() {
        let mut tokens = LookAlikes::default();
        tokens.good(1, false, true).unwrap_err();
        let mut tokens = LookAlikes::default();
        for token in [1, 2, 3, 3, 1] {
            tokens.good(token, true, true).unwrap();
        }
        tokens.good(4, true, false).unwrap();
        tokens.good(5, true, true).unwrap_err();
    }
}
