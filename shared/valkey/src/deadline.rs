//! The deadline of the request that a store call works for.
//!
//! The server kit puts a request's handler into [`scope`]; every store call below it then waits at most 90 % of what
//! remains, so that there is time left to answer.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs `future` under `deadline`. An inner scope never extends an outer one.
///
/// The deadline belongs to the task: a task that `future` spawns does not inherit it.
pub async fn scope<F: Future>(deadline: Instant, future: F) -> F::Output {
    let deadline = DEADLINE.try_with(|outer| deadline.min(*outer)).unwrap_or(deadline);
    DEADLINE.scope(deadline, future).await
}

/// What remains of the current deadline: zero when it has passed, `None` when there is none.
pub fn remaining() -> Option<Duration> {
    DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now())).ok()
}

/// How long a store call may wait now, at most `limit`; `None` when the deadline has passed.
pub(crate) fn wait(limit: Duration) -> Option<Duration> {
    let wait = match remaining() {
        None => limit,
        Some(remaining) => limit.min(remaining.mul_f64(0.9)),
    };
    (wait >= Duration::from_millis(1)).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn a_call_waits_for_nine_tenths_of_what_remains() {
        assert_eq!(wait(LIMIT), Some(LIMIT));
        let start = Instant::now();
        scope(start + Duration::from_secs(1), async {
            assert!(wait(LIMIT).is_some_and(|wait| wait <= Duration::from_millis(900)));
            assert_eq!(wait(Duration::from_millis(5)), Some(Duration::from_millis(5)));
            scope(start + Duration::from_secs(9), async {
                assert!(remaining() <= Some(Duration::from_secs(1)), "an inner scope must not extend the outer one");
            })
            .await;
        })
        .await;
        assert_eq!(remaining(), None);
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_leaves_nothing() {
        scope(Instant::now(), async {
            assert_eq!((remaining(), wait(LIMIT)), (Some(Duration::ZERO), None));
        })
        .await;
    }
}
