//! Revocation, and the knowledge about it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::{Durability, Source, Verdict};
use parking_lot::RwLock;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::tokens::{Kind, Mint};

/// Time after the acknowledgement in which a check may still begin and answer ACTIVE.
pub(super) const BOUND: Duration = Duration::from_millis(100);
/// Longest wait for the answer to a check.
const PATIENCE: Duration = Duration::from_secs(10);

/// Client of one connection.
pub(super) type Client = pb::revocation_service_client::RevocationServiceClient<Channel>;

/// Tokens that are revoked in a run.
pub(super) const SERIES: &str = "r";

/// Revocation of a run.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) check: pb::CheckRequest,
    ack: OnceLock<Ack>,
}

/// Moment of the acknowledgement, and its durability.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    pub(super) at: Instant,
    pub(super) durability: Durability,
}

/// Check: its beginning and its end at the caller, and its answer.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) begin: Instant,
    pub(super) end: Instant,
    pub(super) answer: Answer,
}

#[derive(Debug)]
pub(super) enum Answer {
    Active(Source),
    Revoked(Source),
    /// Service answered that it does not know.
    Unavailable,
    /// Anything else, and no answer at all.
    Failed(String),
}

/// Revocations acknowledged so far.
#[derive(Debug, Default)]
pub(super) struct Cases(RwLock<Vec<Arc<Case>>>);

// === impl Case ===

impl Case {
    pub(super) fn new(mint: &Mint, number: u64) -> Case {
        Case { number, kind: Kind::of(number), check: mint.check(SERIES, number), ack: OnceLock::new() }
    }

    /// Notes the acknowledgement, which came just now.
    pub(super) fn acknowledge(&self, durability: Durability) -> Ack {
        *self.ack.get_or_init(|| Ack { at: Instant::now(), durability })
    }

    pub(super) fn ack(&self) -> Option<Ack> {
        self.ack.get().copied()
    }

    /// Time by which a check breaks the bound if it answers ACTIVE; `None` if it may.
    pub(super) fn late(&self, begin: Instant) -> Option<(Ack, Duration)> {
        // Whoever begins that late begins after the acknowledgement was noted.
        let ack = self.ack()?;
        let age = begin.checked_duration_since(ack.at)?;
        (age >= BOUND).then_some((ack, age))
    }
}

// === impl Seen ===

impl Seen {
    /// Makes a check. The caller's clock starts before anything is sent.
    pub(super) async fn check(mut client: Client, request: pb::CheckRequest) -> Seen {
        let begin = Instant::now();
        let answer = match tokio::time::timeout(PATIENCE, client.check(request)).await {
            Ok(reply) => Answer::of(reply),
            Err(_) => Answer::Failed(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        Seen { begin, end: Instant::now(), answer }
    }
}

// === impl Answer ===

impl Answer {
    fn of(reply: Result<Response<pb::CheckResponse>, Status>) -> Answer {
        let reply = match reply {
            Ok(reply) => reply.into_inner(),
            Err(status) if status.code() == tonic::Code::Unavailable => return Answer::Unavailable,
            Err(status) => return Answer::Failed(status.to_string()),
        };
        let source = reply.freshness.as_ref().map_or(Source::Unspecified, pb::Freshness::source);
        match reply.verdict() {
            Verdict::Active => Answer::Active(source),
            Verdict::Revoked => Answer::Revoked(source),
            Verdict::Unknown => Answer::Unavailable,
            Verdict::KeyUnknown => Answer::Failed("the claims lack a kid".to_owned()),
            Verdict::Unspecified => Answer::Failed("a verdict is missing".to_owned()),
        }
    }
}

// === impl Cases ===

impl Cases {
    pub(super) fn add(&self, case: Arc<Case>) {
        self.0.write().push(case);
    }

    /// Picks one by any number.
    pub(super) fn pick(&self, number: u64) -> Option<Arc<Case>> {
        let cases = self.0.read();
        let index = number.checked_rem(cases.len() as u64)?;
        cases.get(usize::try_from(index).ok()?).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Case>> {
        self.0.read().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_late_by_when_its_check_began() {
        let case = Case::new(&Mint::new(), 1);
        assert!(case.late(Instant::now() + BOUND).is_none(), "not acknowledged");
        let ack = case.acknowledge(Durability::PrimaryOnly);
        assert!(case.late(ack.at + BOUND - Duration::from_micros(1)).is_none());
        assert!(case.late(ack.at + BOUND).is_some());
        assert!(case.late(ack.at.checked_sub(BOUND).unwrap()).is_none());
    }
}
