//! Conversations as the ranking reads them, with the texts and the evidence beside.

use std::collections::HashMap;
use std::ops::Range;

use compact_str::CompactString;
use keyplane_agent_memory::domain::question::Question;
use keyplane_agent_memory::domain::render::{Line, render};
use keyplane_agent_memory::domain::tokens::{Encoding, TokenCounter};
use keyplane_agent_memory::domain::{Item, Kind, MemoryId, Partition, Session, Vector, split, text};

use super::embeddings::Embeddings;
use super::locomo::Sample;
use crate::Error;

/// Last category with an answer.
const ANSWERED: Range<u8> = 1..5;

/// Text of an item: a turn, or a piece of one.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub speaker: String,
    pub text: String,
    /// Turn, by its place in the conversation.
    pub turn: usize,
}

/// Conversation before its texts are embedded.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub name: String,
    /// Sessions: their first moment, and their texts.
    sessions: Vec<(i64, Vec<Text>)>,
    questions: Vec<Asked>,
    /// Turns that are longer than a piece.
    pub long_turns: usize,
}

/// Question whose evidence is known.
#[derive(Clone, Debug)]
struct Asked {
    text: String,
    category: u8,
    evidence: Vec<usize>,
}

/// Conversation whose items can be ranked.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub name: String,
    pub sessions: Vec<Session>,
    /// Texts of the items, session by session.
    pub texts: Vec<Vec<Text>>,
    pub queries: Vec<Query>,
    /// Tokens of the whole conversation, rendered.
    pub tokens: u32,
}

/// Question as the ranking reads it.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub question: Question,
    pub category: u8,
    /// Turns that hold the answer.
    pub evidence: Vec<usize>,
}

/// Number of tokens, by o200k.
pub(super) fn count(text: &str) -> u32 {
    TokenCounter::new(Encoding::O200k).count(text)
}

// === impl Draft ===

impl Draft {
    /// Reads a sample; divides turns of more than `most` tokens.
    pub(super) fn new(sample: &Sample, number: usize, most: u32) -> Result<Draft, Error> {
        let (mut ids, mut sessions, mut long_turns) = (HashMap::new(), Vec::new(), 0);
        for dialogue in sample.sessions()? {
            let mut texts = Vec::new();
            for turn in dialogue.turns {
                let (number, whole) = (ids.len(), turn.text());
                ids.insert(turn.dia_id, number);
                let pieces = split::split(&whole, most, &count);
                long_turns += usize::from(pieces.len() > 1);
                texts.extend(pieces.into_iter().map(|piece| Text {
                    speaker: turn.speaker.clone(),
                    text: whole[piece].to_owned(),
                    turn: number,
                }));
            }
            sessions.push((dialogue.time, texts));
        }
        let asked = sample.qa.iter().filter(|asked| ANSWERED.contains(&asked.category)).map(|asked| Asked {
            text: asked.question.clone(),
            category: asked.category,
            evidence: asked.evidence().iter().filter_map(|id| ids.get(id).copied()).collect(),
        });
        let questions = asked.filter(|asked| !asked.evidence.is_empty()).collect();
        Ok(Draft { name: sample.name(number), sessions, questions, long_turns })
    }

    /// Texts to embed: memories with their speakers, and questions.
    pub(super) fn texts(&self) -> Vec<String> {
        let said = self.sessions.iter().flat_map(|(_, texts)| texts).map(Text::spoken);
        said.chain(self.questions.iter().map(|asked| asked.text.clone())).collect()
    }

    /// Number of turns and pieces.
    pub(super) fn items(&self) -> usize {
        self.sessions.iter().map(|(_, texts)| texts.len()).sum()
    }

    /// Conversation with its embeddings.
    pub(super) fn finish(self, embeddings: &Embeddings) -> Result<Conversation, Error> {
        let now = self.sessions.last().map_or(0, |(time, _)| *time);
        let sessions: Result<Vec<Session>, Error> = self
            .sessions
            .iter()
            .enumerate()
            .map(|(number, (time, texts))| session(number, *time, texts, embeddings))
            .collect();
        let queries: Result<Vec<Query>, Error> =
            self.questions.into_iter().map(|asked| query(asked, now, embeddings)).collect();
        let times: Vec<i64> = self.sessions.iter().map(|(time, _)| *time).collect();
        let texts: Vec<Vec<Text>> = self.sessions.into_iter().map(|(_, texts)| texts).collect();
        let tokens = count(&render(lines(&times, &texts)));
        Ok(Conversation { name: self.name, sessions: sessions?, texts, queries: queries?, tokens })
    }
}

// === impl Conversation ===

impl Conversation {
    /// Text of the item at a place: session, and number in it.
    pub(super) fn text(&self, (session, item): (usize, usize)) -> &Text {
        &self.texts[session][item]
    }
}

// === impl Text ===

impl Text {
    /// Text with its speaker.
    fn spoken(&self) -> String {
        text::spoken(&self.speaker, &self.text).into_owned()
    }
}

/// Lines of all texts.
fn lines<'a>(times: &[i64], texts: &'a [Vec<Text>]) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for (session, (time, texts)) in times.iter().zip(texts).enumerate() {
        lines.extend(texts.iter().zip(0..).map(|(text, sequence)| Line {
            session,
            sequence,
            time: *time,
            speaker: &text.speaker,
            text: &text.text,
        }));
    }
    lines
}

fn session(number: usize, time: i64, texts: &[Text], embeddings: &Embeddings) -> Result<Session, Error> {
    let partition = Partition::new(0).ok_or("a partition")?;
    let items: Result<Vec<Item>, Error> = texts
        .iter()
        .zip(0..)
        .map(|(text, sequence)| {
            let embedding = embeddings.get(&text.spoken())?;
            let analysis = text::analyze(&text.speaker, &text.text);
            Ok(Item {
                speaker: CompactString::new(&text.speaker),
                time,
                accessed: time,
                tokens: count(&text.text),
                length: analysis.length,
                terms: analysis.terms,
                vector: Vector::quantize(&embedding.vector),
                sketch: embedding.sketch.clone(),
                ..Item::new(MemoryId::new(partition, [0; 16]), Kind::Message, sequence)
            })
        })
        .collect();
    Ok(Session { id: CompactString::new(number.to_string()), conversation: true, items: items? })
}

fn query(asked: Asked, now: i64, embeddings: &Embeddings) -> Result<Query, Error> {
    let embedding = embeddings.get(&asked.text)?.clone();
    let question = Question::new(&asked.text, Some(embedding.vector), embedding.sketch, now);
    Ok(Query { question, category: asked.category, evidence: asked.evidence })
}
