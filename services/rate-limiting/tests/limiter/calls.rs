//! Calls of a case of `sequences.rs`.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::model::{Kind, Limited, Rule};

pub(crate) static KINDS: [Kind; 5] = [
    Kind { policy: "tenant", by_user: false, burst: 15, rule: Rule::Deny },
    Kind { policy: "user", by_user: true, burst: 7, rule: Rule::Deny },
    Kind { policy: "other", by_user: true, burst: 5, rule: Rule::Deny },
    Kind { policy: "shadow", by_user: true, burst: 3, rule: Rule::Tell },
    Kind { policy: "post", by_user: false, burst: 4, rule: Rule::Charge },
];

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Acquire(Vec<(Index, bool)>, u64, Option<(u8, bool)>),
    Peek(Vec<(Index, bool)>, u64),
    /// Index of an earlier request.
    Repeat(Index),
    Commit(Index, u64),
    Refund(Index, u64, Option<u8>),
    Reset(Index, bool),
    TakeBack(Index, bool, u64),
}

pub(crate) fn limited(index: Index, first: bool) -> Limited {
    let kind = &KINDS[index.index(KINDS.len())];
    Limited { kind, user: if first || !kind.by_user { "u" } else { "v" } }
}

pub(crate) fn limits(chosen: &[(Index, bool)]) -> Vec<Limited> {
    let mut limits: Vec<Limited> = Vec::new();
    for &(index, first) in chosen {
        let single = limited(index, first);
        if !limits.contains(&single) {
            limits.push(single);
        }
    }
    limits
}

// === strategies ===

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let chosen = || proptest::collection::vec((any::<Index>(), any::<bool>()), 1..4);
    let (index, cost) = (any::<Index>, || prop_oneof![5 => 1..4_u64, 2 => 4..9_u64]);
    let step = prop_oneof![
        8 => (chosen(), cost(), proptest::option::of((0..6_u8, any::<bool>())))
            .prop_map(|(chosen, cost, id)| Step::Acquire(chosen, cost, id)),
        2 => (chosen(), cost()).prop_map(|(chosen, cost)| Step::Peek(chosen, cost)),
        2 => index().prop_map(Step::Repeat),
        2 => (index(), 0..12_u64).prop_map(|(index, cost)| Step::Commit(index, cost)),
        2 => (index(), cost(), proptest::option::of(0..2_u8))
            .prop_map(|(index, cost, id)| Step::Refund(index, cost, id)),
        1 => (index(), any::<bool>()).prop_map(|(index, first)| Step::Reset(index, first)),
        1 => (index(), any::<bool>(), cost()).prop_map(|(index, first, cost)| Step::TakeBack(index, first, cost)),
    ];
    proptest::collection::vec(step, 1..40)
}
