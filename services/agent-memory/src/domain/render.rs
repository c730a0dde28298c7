//! Recalled memories as text for a prompt: blocks in time order, each with its date once.
//!
//! ```text
//! 8 May 2023
//! Ann: I adopted a dog.
//! Bob: A beagle?
//!
//! 25 May 2023
//! Ann: He is called Max.
//! ```

use std::fmt::Write;

use super::calendar::{date, written};
use super::text::spoken;

/// Text at its place in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Session, by any number that tells it from the others.
    pub session: usize,
    /// Place in the session.
    pub sequence: u32,
    /// Moment of the event, in milliseconds since 1970.
    pub time: i64,
    /// Name of who said it; empty if nobody.
    pub speaker: &'a str,
    /// Text.
    pub text: &'a str,
}

/// Rendered text within a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Text.
    pub text: String,
    /// Tokens of the text.
    pub tokens: u32,
    /// Number of lines that it holds, the best first.
    pub lines: usize,
}

/// Number of the day of a moment, by which lines share a block.
#[must_use]
pub fn day(time: i64) -> i64 {
    time.div_euclid(86_400_000)
}

/// Date line of a block; empty for a moment outside of the calendar.
#[must_use]
pub fn header(time: i64) -> String {
    date(time).map(written).unwrap_or_default()
}

/// Renders lines: a block for each session and day, the earliest first; within it, the order of the conversation.
#[must_use]
pub fn render(mut lines: Vec<Line<'_>>) -> String {
    lines.sort_by_key(|line| (day(line.time), line.session, line.sequence));
    let mut text = String::new();
    let mut block = None;
    for line in lines {
        let own = (day(line.time), line.session);
        if block != Some(own) {
            let gap = if block.is_some() { "\n" } else { "" };
            let _ = writeln!(text, "{gap}{}", header(line.time));
            block = Some(own);
        }
        let _ = writeln!(text, "{}", spoken(line.speaker, line.text));
    }
    text
}

/// Renders the best lines whose text has at most `budget` tokens. `lines` are in the order of their rank; the last are dropped
/// until the rest fits. Counts the whole text once for each that is dropped, plus one.
#[must_use]
pub fn render_within(mut lines: Vec<Line<'_>>, budget: u32, count: &dyn Fn(&str) -> u32) -> Rendered {
    loop {
        let text = render(lines.clone());
        let tokens = count(&text);
        if tokens <= budget || lines.is_empty() {
            return Rendered { text, tokens, lines: lines.len() };
        }
        lines.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn line(session: usize, sequence: u32, time: i64, text: &str) -> Line<'_> {
        Line { session, sequence, time, speaker: "Ann", text }
    }

    #[test]
    fn session_is_one_block_in_its_order() {
        let lines = vec![line(1, 9, DAY, "late"), line(0, 2, 5, "b"), line(0, 1, 7, "a")];
        assert_eq!(render(lines), "1 January 1970\nAnn: a\nAnn: b\n\n2 January 1970\nAnn: late\n");
    }

    #[test]
    fn each_day_of_a_session_has_its_date() {
        let text = render(vec![line(0, 1, 0, "a"), line(0, 2, DAY, "b"), line(1, 1, 0, "c")]);
        assert_eq!(text.matches("1 January").count(), 2);
        assert_eq!(text.matches("2 January").count(), 1);
    }

    #[test]
    fn worst_lines_are_dropped_until_the_text_fits() {
        let words = |text: &str| text.split_whitespace().count() as u32;
        let lines = vec![line(0, 9, 0, "best"), line(0, 1, 0, "worst of all")];
        let fitting = render_within(lines.clone(), 5, &words);
        assert_eq!((fitting.tokens, fitting.lines, fitting.text.contains("worst")), (5, 1, false));
        assert_eq!(render_within(lines.clone(), 9, &words).lines, 2);
        assert_eq!(render_within(lines, 0, &words).lines, 0);
    }

    #[test]
    fn nothing_is_no_text() {
        assert_eq!(render(Vec::new()), "");
    }

    #[test]
    fn text_without_a_speaker_stands_alone() {
        let text = render(vec![Line { speaker: "", ..line(0, 0, 0, "fact") }]);
        assert_eq!(text, "1 January 1970\nfact\n");
    }
}
