//! Waiting for a condition.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// What one look at the world gives: the value waited for, or what was seen in its place.
pub trait Attempt {
    /// What is waited for.
    type Value;
    /// The value, or what was seen in its place, for the message.
    ///
    /// # Errors
    /// When it is not there yet.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl Attempt for bool {
    type Value = ();
    fn outcome(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".to_owned()) }
    }
}

impl<T> Attempt for Option<T> {
    type Value = T;
    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "None".to_owned())
    }
}

impl<T, S: Debug> Attempt for Result<T, S> {
    type Value = T;
    fn outcome(self) -> Result<T, String> {
        self.map_err(|seen| format!("{seen:?}"))
    }
}

/// Calls `look` until it gives `true`, `Some` or `Ok`, and returns the value. Looks every 5 ms at first, every 100 ms in
/// the end. An `Err(state)` appears in the message if patience runs out, so prefer it to `None`.
///
/// ```no_run
/// # async fn example(count: impl AsyncFn() -> u32) {
/// use std::time::Duration;
/// keyplane_testkit::eventually("both events arrive", Duration::from_secs(5), async || match count().await {
///     2 => Ok(()),
///     other => Err(other),
/// })
/// .await;
/// # }
/// ```
///
/// # Panics
/// When `patience` is over, with `what` and what was seen last.
#[track_caller]
pub fn eventually<A: Attempt>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> A,
) -> impl Future<Output = A::Value> {
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        let mut pause = Duration::from_millis(5);
        let mut last = "nothing: the first look never ended".to_owned();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            if let Ok(attempt) = tokio::time::timeout(left, look()).await {
                match attempt.outcome() {
                    Ok(value) => return value,
                    Err(seen) => last = seen,
                }
            }
            let left = patience.saturating_sub(start.elapsed());
            assert!(!left.is_zero(), "{caller}: not within {patience:?}: {what}; last seen: {last}");
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_the_value_once_it_is_there() {
        let mut looks = 0;
        let value = eventually("third look", Duration::from_secs(5), async || {
            looks += 1;
            (looks == 3).then_some("there")
        });
        assert_eq!(value.await, "there");
        eventually("truth", Duration::from_secs(5), async || true).await;
    }

    #[tokio::test]
    #[should_panic(expected = "not within 30ms: pigs fly; last seen: \"on the ground\"")]
    async fn says_what_was_seen_last() {
        eventually("pigs fly", Duration::from_millis(30), async || Err::<(), _>("on the ground")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "the first look never ended")]
    async fn does_not_hang_with_a_look_that_does() {
        eventually("an end", Duration::from_millis(30), async || std::future::pending::<bool>().await).await;
    }
}
