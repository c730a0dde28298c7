//! Makes and judges one call.

use std::time::{Duration, Instant};

use tonic::{Response, Status};

use super::book::{Book, Span};
use super::clock::Mark;
use super::fleet::Instance;
use super::ledger::Invariant;
use super::outcome::{DEADLINE, Failure, Kind, Made, PATIENCE};

/// Time beyond the deadline in which a call ends.
const MARGIN: Duration = Duration::from_millis(250);

// === impl Book ===

impl Book {
    /// Makes a call of one instance, and holds it against its deadline and the errors that it may have.
    pub(super) async fn call<T>(
        &self,
        kind: Kind,
        instance: &Instance,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Made<T> {
        let begin = self.clock.mark();
        let result = match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Failure::from(status)),
            Err(_) => Err(Failure::hung()),
        };
        let end = Instant::now();
        self.judge_call(kind, instance, begin, end, result.as_ref().err());
        Made { begin, end, result }
    }

    fn judge_call(&self, kind: Kind, instance: &Instance, begin: Mark, end: Instant, failure: Option<&Failure>) {
        let took = end - begin.at;
        let who = || format!("{} of {}", kind.name(), instance.name());
        // Nobody can answer in time who is stopped.
        if !instance.disturbed_since(begin.at) {
            let excess = took.saturating_sub(DEADLINE + MARGIN);
            let call = Span { from: begin.at, to: end, excess };
            let text = || format!("{} took {took:.2?}", who());
            self.hold_call(Invariant::Deadline, call, || (!excess.is_zero()).then(text));
        }
        self.outcome(kind, begin, end, failure, who);
    }

    /// Holds an outcome against the errors that it may have, and notes how long a success took.
    pub(super) fn outcome(
        &self,
        kind: Kind,
        begin: Mark,
        end: Instant,
        failure: Option<&Failure>,
        who: impl Fn() -> String,
    ) {
        self.count(failure);
        let text = |failure: &Failure| format!("{}: {}", who(), failure.text());
        if let Some(failure) = failure {
            self.hold(Invariant::Reasons, || (!failure.is_documented(kind)).then(|| text(failure)));
        }
        let Some(part) = self.clock.calm_since(begin) else { return };
        if failure.is_none() {
            self.samples.record(part, kind, end - begin.at);
        }
        let call = Span { from: begin.at, to: end, excess: Duration::ZERO };
        self.hold_call(Invariant::Calm, call, || failure.filter(|failure| !failure.is_answer()).map(text));
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::soak::clock::Phase;
    use crate::soak::outcome::tests::status;

    #[test]
    fn an_error_breaks_the_calm_and_an_undocumented_one_any_time() {
        let book = Book::new();
        let fail = |code, reason| {
            let failure = Failure::from(status(code, reason, None));
            book.outcome(Kind::Get, book.clock.mark(), Instant::now(), Some(&failure), String::new);
        };
        let broken = |invariant| {
            book.close(false);
            book.ledger.account(invariant).broken
        };
        book.clock.enter(Phase::Fault(1));
        fail(Code::Unavailable, "STORE_UNAVAILABLE");
        assert_eq!(book.ledger.broken(), 0);
        fail(Code::Internal, "INTERNAL");
        assert_eq!(broken(Invariant::Reasons), 1);
        book.clock.enter(Phase::Calm(1));
        fail(Code::NotFound, "SESSION_NOT_FOUND");
        assert_eq!(broken(Invariant::Calm), 0);
        fail(Code::Unavailable, "STORE_UNAVAILABLE");
        assert_eq!(broken(Invariant::Calm), 1);
    }

    #[test]
    fn a_stall_of_the_machine_excuses_no_undocumented_error() {
        let book = Book::new();
        book.clock.enter(Phase::Calm(1));
        let begin = book.clock.mark();
        let failure = Failure::from(status(Code::Internal, "INTERNAL", None));
        book.outcome(Kind::Get, begin, Instant::now(), Some(&failure), String::new);
        book.clock.note_stall(begin.at, begin.at + Duration::from_secs(1));
        book.close(false);
        assert_eq!([Invariant::Reasons, Invariant::Calm].map(|one| book.ledger.account(one).broken), [1, 0]);
    }
}
