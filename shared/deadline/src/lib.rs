//! Deadline of the request that a task works for.
//!
//! The server kit runs a request's handler in [`scope`]. A wait below it, for the store or for another service, takes at most
//! its [`share`] of the remaining time, which leaves time to answer.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// Share of the remaining time that a wait may take.
const SHARE: f64 = 0.9;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs `future` under `deadline`. An inner scope never extends an outer one.
///
/// Tasks that `future` spawns do not inherit the deadline.
pub async fn scope<F: Future>(deadline: Instant, future: F) -> F::Output {
    let deadline = DEADLINE.try_with(|outer| deadline.min(*outer)).unwrap_or(deadline);
    DEADLINE.scope(deadline, future).await
}

/// Returns the time until the current deadline: zero when it has passed, `None` without one.
pub fn remaining() -> Option<Duration> {
    DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}

/// Returns the longest wait that leaves time to answer, 90 % of [`remaining`]; `None` without a deadline.
pub fn share() -> Option<Duration> {
    remaining().map(|remaining| remaining.mul_f64(SHARE))
}

/// Returns the longest wait that leaves time to answer, at most `limit`.
pub fn within(limit: Duration) -> Duration {
    share().map_or(limit, |share| limit.min(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn wait_takes_nine_tenths_of_the_remaining_time() {
        assert_eq!((remaining(), share(), within(LIMIT)), (None, None, LIMIT));
        let start = Instant::now();
        scope(start + Duration::from_secs(1), async {
            assert!(share() <= Some(Duration::from_millis(900)));
            assert!(within(LIMIT) <= Duration::from_millis(900));
            scope(start + Duration::from_secs(9), async {
                assert!(remaining() <= Some(Duration::from_secs(1)), "an inner scope must not extend the outer one");
            })
            .await;
        })
        .await;
        scope(start + LIMIT * 1000, async {
            assert!(share() > Some(LIMIT * 800), "ten minutes of a slow machine aside");
            assert_eq!(within(LIMIT), LIMIT, "there is time for it");
        })
        .await;
        assert_eq!(remaining(), None);
    }

    #[tokio::test]
    async fn passed_deadline_leaves_nothing() {
        scope(Instant::now(), async {
            let nothing = Duration::ZERO;
            assert_eq!((remaining(), share(), within(LIMIT)), (Some(nothing), Some(nothing), nothing));
        })
        .await;
    }
}
