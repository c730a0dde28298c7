//! Waiting for a condition.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Result of one look: the awaited value, or the state seen in its place.
pub trait Attempt {
    /// Awaited value.
    type Value;
    /// Value, or the state seen in its place, for the message.
    ///
    /// # Errors
    /// State seen, while the value is missing.
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

/// Calls `look` until it gives `true`, `Some` or `Ok`, and returns the value. Pauses 5 ms at first, 100 ms in the end.
/// Prefer `Err(state)` to `None`: the state appears in the message when patience runs out.
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
/// `patience` is over; with `what` and the last state seen.
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
    async fn value_is_returned_once_it_is_there() {
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
    async fn last_state_is_in_the_message() {
        eventually("pigs fly", Duration::from_millis(30), async || Err::<(), _>("on the ground")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "the first look never ended")]
    async fn look_that_hangs_runs_out_of_patience() {
        eventually("an end", Duration::from_millis(30), async || std::future::pending::<bool>().await).await;
    }
}
