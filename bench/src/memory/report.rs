//! Table of the rankings.

use std::fmt::Write as _;

use serde::Serialize;

use super::measure::{Found, SAVED};
use crate::report;

/// Place of 90 % among the shares that are saved.
const NINETY: usize = 1;
/// Name of the rows over all files.
const ALL: &str = "all";

/// Recall of evidence of all rankings.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    sets: Vec<Set>,
}

/// Conversations of a file.
#[derive(Debug, Serialize)]
pub(super) struct Set {
    pub name: String,
    pub conversations: usize,
    /// Items: turns, and pieces of long ones.
    pub items: usize,
    pub long_turns: usize,
    pub questions: usize,
    /// Tokens of a whole conversation, rendered; the mean.
    pub tokens: f64,
    pub compared: Vec<Row>,
    pub ablated: Vec<Row>,
}

/// Evidence that a ranking found, in percent.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub name: &'static str,
    /// By the share of tokens that is saved: 80, 90, 95 and 97.5 %.
    pub saved: [f64; SAVED.len()],
    /// Worst conversation at 90 % saved.
    pub worst: f64,
    /// Best conversation at 90 % saved.
    pub best: f64,
    /// By category at 90 % saved: several places, time, inference, one place; none without questions.
    pub categories: [Option<f64>; 4],
}

// === impl Row ===

impl Row {
    /// Pools the questions of all conversations.
    pub(super) fn new(name: &'static str, conversations: &[Vec<Found>]) -> Row {
        let all: Vec<&Found> = conversations.iter().flatten().collect();
        let mut saved = [0.0; SAVED.len()];
        for (at, saved) in saved.iter_mut().enumerate() {
            *saved = mean(all.iter().map(|found| found.shares[at])).unwrap_or(0.0);
        }
        let each: Vec<f64> =
            conversations.iter().filter_map(|of| mean(of.iter().map(|found| found.shares[NINETY]))).collect();
        let category =
            |number: u8| mean(all.iter().filter(|found| found.category == number).map(|found| found.shares[NINETY]));
        Row {
            name,
            saved,
            worst: each.iter().copied().fold(100.0, f64::min),
            best: each.iter().copied().fold(0.0, f64::max),
            categories: [1, 2, 3, 4].map(category),
        }
    }
}

/// Mean in percent; none of nothing.
fn mean(shares: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = shares.fold((0.0, 0.0), |(sum, count), share| (sum + share, count + 1.0));
    (count > 0.0).then(|| 100.0 * sum / count)
}

// === impl Report ===

impl Report {
    pub(super) fn add(&mut self, set: Set) {
        self.sets.push(set);
    }

    /// Adds the rows over all files, if there are several.
    pub(super) fn total(&mut self, compared: Vec<Row>, ablated: Vec<Row>) {
        if self.sets.len() < 2 {
            return;
        }
        let sum = |of: fn(&Set) -> usize| self.sets.iter().map(of).sum::<usize>();
        let conversations = sum(|set| set.conversations);
        let tokens: f64 = self.sets.iter().map(|set| set.tokens * set.conversations as f64).sum();
        let all = Set {
            name: ALL.to_owned(),
            conversations,
            items: sum(|set| set.items),
            long_turns: sum(|set| set.long_turns),
            questions: sum(|set| set.questions),
            tokens: tokens / conversations.max(1) as f64,
            compared,
            ablated,
        };
        self.sets.push(all);
    }
}

impl report::Report for Report {
    fn markdown(&self) -> String {
        let mut text = String::from(
            "# Evidence recall\n\nMean of found/evidence, in percent, over questions of categories 1 to 4. A turn is found if it, or a piece of it, is\nin the rendered text, whose o200k tokens are counted. No capacity is applied: whole conversations stay in scope.\n",
        );
        for set in &self.sets {
            let _ = writeln!(
                text,
                "\n## {}\n\n{} conversations, {} items ({} turns were split), {} questions, {:.0} tokens a conversation.\n",
                set.name, set.conversations, set.items, set.long_turns, set.questions, set.tokens
            );
            table(&mut text, &set.compared);
            text.push_str("\nParts of the recipe in turn:\n\n");
            table(&mut text, &set.ablated);
        }
        text
    }

    fn failures(&self) -> Vec<String> {
        let find = |set: &Set, name: &str| {
            set.compared.iter().find(|row| row.name.starts_with(name)).map(|row| row.saved[NINETY])
        };
        let behind = self.sets.iter().filter(|set| find(set, "recipe") < find(set, "vector"));
        behind.map(|set| format!("{}: the recipe finds less than the vectors alone at 90 % saved", set.name)).collect()
    }
}

/// Table of rows; the last four columns are at 90 % saved.
fn table(text: &mut String, rows: &[Row]) {
    text.push_str(
        "| ranking | 80 % | 90 % | 95 % | 97.5 % | worst to best conversation | several / time / inference / one |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|\n");
    for row in rows {
        let [eighty, ninety, more, most] = row.saved;
        let categories =
            row.categories.map(|value| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}")));
        let _ = writeln!(
            text,
            "| {} | {eighty:.1} | {ninety:.1} | {more:.1} | {most:.1} | {:.1} to {:.1} | {} |",
            row.name,
            row.worst,
            row.best,
            categories.join(" / ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_pooled_and_the_worst_conversation_is_told() {
        let found = |category, share| Found { category, shares: [share; SAVED.len()] };
        let row = Row::new("a", &[vec![found(1, 1.0), found(2, 1.0), found(1, 0.5)], vec![found(4, 0.0)], Vec::new()]);
        assert_eq!((row.saved[NINETY], row.worst), (62.5, 0.0));
        assert!((row.best - 250.0 / 3.0).abs() < 1e-9);
        assert_eq!(row.categories, [Some(75.0), Some(100.0), None, Some(0.0)]);
    }

    #[test]
    fn recipe_behind_the_vectors_is_a_failure() {
        let row = |name, share| Row { name, saved: [share; 4], worst: share, best: share, categories: [None; 4] };
        let set = |recipe, vector| Set {
            name: "a".to_owned(),
            conversations: 1,
            items: 1,
            long_turns: 0,
            questions: 1,
            tokens: 1.0,
            compared: vec![row("recipe, whole scope", recipe), row("vector-only", vector)],
            ablated: Vec::new(),
        };
        let failures = |recipe, vector| report::Report::failures(&Report { sets: vec![set(recipe, vector)] }).len();
        assert_eq!((failures(50.0, 60.0), failures(60.0, 50.0)), (1, 0));
    }
}
