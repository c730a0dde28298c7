//! Tests of the text of a state.

use super::{Kept, State};
use crate::Millis;
use proptest::prelude::*;

/// Arbitrary states.
pub(crate) fn states() -> impl Strategy<Value = State> {
    let time = || proptest::option::of((0i64..4_102_444_800_000).prop_map(Millis));
    let kept = ("[a-z ;,=%ä]{1,8}", time()).prop_map(|(sid, cutoff)| Kept { sid: sid.into(), cutoff });
    (any::<bool>(), any::<i64>(), time(), time(), proptest::collection::vec(kept, 0..4)).prop_map(
        |(undone, expires, cutoff, token_expires, kept)| State {
            undone,
            expires: Millis(expires),
            cutoff,
            token_expires,
            kept,
        },
    )
}

#[test]
fn the_text_of_a_state() {
    let bare = State { undone: false, expires: Millis(9), cutoff: None, token_expires: None, kept: Vec::new() };
    assert_eq!(bare.encode(), "R;9;;;");
    let kept = vec![Kept { sid: "a=b".into(), cutoff: None }, Kept { sid: "c".into(), cutoff: Some(Millis(-3)) }];
    let full =
        State { undone: true, expires: Millis(9), cutoff: Some(Millis(7)), token_expires: Some(Millis(8)), kept };
    assert_eq!(full.encode(), "U;9;7;8;a%3Db=,c=-3");
    assert_eq!(State::decode("U;9;7;8;a%3Db=,c=-3"), Ok(full));
}

#[test]
fn forged_texts_are_malformed() {
    for text in [
        "",
        "R",
        "R;9;;",
        "R;9;;;;",
        "X;9;;;",
        "r;9;;;",
        "R;;;;",
        "R;x;;;",
        "R;+9;;;",
        "R;09;;;",
        "R;9;;;a",
        "R;9;;;=",
        "R;9;;;=5",
        "R;9;;;a=,",
        "R;9;;;,a=",
        "R;9;;;a=b",
        "R;9;;;a=1=2",
        "R;9;;;%61=",
        "R;9;;;a b=",
        "R;9.5;;;",
        "R;1e3;;;",
        "R;9; ;;",
    ] {
        assert!(State::decode(text).is_err(), "{text:?} is no state, and must not be read");
    }
}

#[test]
fn a_state_holds_until_it_expires_or_is_undone() {
    let mut state = State { undone: false, expires: Millis(9), cutoff: None, token_expires: None, kept: Vec::new() };
    assert!(state.holds(Millis(8)) && !state.holds(Millis(9)));
    state.undone = true;
    assert!(!state.holds(Millis(8)));
}

proptest! {
    #[test]
    fn a_state_comes_back_from_its_text(state in states()) {
        prop_assert_eq!(State::decode(&state.encode()), Ok(state));
    }

    #[test]
    fn garbage_is_malformed_or_canonical(text in "[RU];[0-9;,=a%-]{0,20}") {
        if let Ok(state) = State::decode(&text) {
            prop_assert_eq!(state.encode(), text);
        }
    }

    #[test]
    fn no_text_breaks_the_parser(text in ".{0,40}") {
        let _ = State::decode(&text);
    }
}
