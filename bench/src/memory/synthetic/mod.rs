//! Synthetic conversations in LoCoMo's format: planted facts among turns with the same words.
//!
//! | fact | trap |
//! |---|---|
//! | answer in the turn after the question's words | both speakers talk of the same thing elsewhere |
//! | meal on a date | a third of all turns is about meals, in the same words, and none names its date |
//! | purchase of a speaker | the other speaker bought the same thing elsewhere |
//! | current employer | an earlier employer is named in the same words |
//! | two pastimes of a speaker | in two sessions; the other speaker has others |
//! | no answer (category 5) | the thing is talked of, but not that |

mod phrases;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::locomo::{Asked, Sample, Turn};
use crate::dice::Dice;
use phrases::{ASIDES, CHATTER, CITIES, COMPANIES, DETAILS, DISHES, MEALS, NAMES, PASTIMES, THINGS};

/// Conversations of a set.
const CONVERSATIONS: usize = 10;
/// Turns of a session.
const SESSION: usize = 20;
/// Facts of a kind in a conversation.
const FACTS: usize = 8;
/// First session, 2023-01-02T18:00:00Z.
const START: i64 = 1_672_682_400_000;
const DAY: i64 = 86_400_000;

/// Conversation that is being written.
struct Writer<'a> {
    dice: &'a mut Dice,
    speakers: [&'static str; 2],
    sessions: Vec<Vec<(usize, String)>>,
    asked: Vec<Asked>,
}

/// Set of some `turns` turns in 10 conversations. The same seed makes the same set.
pub(super) fn generate(turns: usize, seed: u64) -> Vec<Sample> {
    let mut dice = Dice::seeded(seed);
    let sessions = (turns / CONVERSATIONS / SESSION).max(FACTS);
    (0..CONVERSATIONS).map(|number| conversation(&mut dice, number, sessions)).collect()
}

fn conversation(dice: &mut Dice, number: usize, sessions: usize) -> Sample {
    let speakers = [NAMES[number * 2 % NAMES.len()], NAMES[(number * 2 + 1) % NAMES.len()]];
    let mut writer = Writer { dice, speakers, sessions: Vec::new(), asked: Vec::new() };
    writer.chatter(sessions);
    // Answers in place of chatter are planted first, so that later ones do not overwrite them: each takes free turns.
    let mut free = Free::new(sessions);
    for fact in 0..FACTS {
        writer.detail(&mut free, 2 * fact);
        writer.detail(&mut free, 2 * fact + 1);
        writer.meal(&mut free);
        writer.purchase(&mut free, fact);
    }
    for speaker in 0..2 {
        writer.employer(&mut free, speaker);
        writer.pastimes(&mut free, speaker);
    }
    writer.unanswered();
    writer.finish(number)
}

/// Pairs of adjacent turns that no fact has taken yet.
struct Free {
    pairs: Vec<Vec<usize>>,
}

// === impl Free ===

impl Free {
    fn new(sessions: usize) -> Free {
        Free { pairs: vec![(0..SESSION / 2).collect(); sessions] }
    }

    /// Takes a pair of a session, and returns its first turn; of the next session with one, if it has none.
    fn take(&mut self, session: usize, dice: &mut Dice) -> (usize, usize) {
        let number = self.pairs.len();
        let order = (session..number).chain(0..session);
        let session = order.into_iter().find(|session| !self.pairs[*session].is_empty()).unwrap_or(0);
        let pairs = &mut self.pairs[session];
        if pairs.is_empty() {
            return (session, 0);
        }
        (session, 2 * pairs.swap_remove(below(dice, pairs.len())))
    }
}

// === impl Writer ===

impl Writer<'_> {
    /// Fills all sessions with turns that share the words of the facts.
    fn chatter(&mut self, sessions: usize) {
        for _ in 0..sessions {
            let turns = (0..SESSION).map(|turn| (turn % 2, self.aside())).collect();
            self.sessions.push(turns);
        }
    }

    /// Turn that holds no fact.
    fn aside(&mut self) -> String {
        let list = if self.dice.below(3) == 0 { MEALS } else { CHATTER };
        let phrase = pick(self.dice, list);
        self.fill(phrase)
    }

    /// Phrase with its places filled by chance.
    fn fill(&mut self, phrase: &str) -> String {
        let thing = pick(self.dice, THINGS);
        let other = pick(self.dice, THINGS);
        let text = phrase.replace("{thing}", thing).replace("{other}", other);
        text.replace("{city}", pick(self.dice, CITIES)).replace("{dish}", pick(self.dice, DISHES))
    }

    /// Answer that shares no word with its question: the turn before it has them.
    fn detail(&mut self, free: &mut Free, fact: usize) {
        let (kind, thing) = (DETAILS[fact % DETAILS.len()], self.thing(2 * fact));
        let (session, turn) = free.take(self.session(), self.dice);
        let value = pick(self.dice, kind.values);
        self.sessions[session][turn].1 = kind.prompt.replace("{thing}", thing);
        self.sessions[session][turn + 1].1 = kind.reply.replace("{value}", value);
        let question = kind.question.replace("{speaker}", self.speakers[1]).replace("{thing}", thing);
        self.ask(question, value, &[(session, turn + 1)], 4);
    }

    /// Meal whose date only the session tells.
    fn meal(&mut self, free: &mut Free) {
        let (session, turn) = free.take(self.session(), self.dice);
        let (speaker, dish) = (self.below(2), pick(self.dice, DISHES));
        self.sessions[session][turn + speaker].1 =
            format!("Tonight's dinner here was {dish}, and there is enough left.");
        let date = keyplane_agent_memory::domain::render::header(moment(session));
        self.ask(
            format!("What did {} have for dinner on {date}?", self.speakers[speaker]),
            dish,
            &[(session, turn + speaker)],
            2,
        );
    }

    /// Purchase of the same thing by both speakers.
    fn purchase(&mut self, free: &mut Free, fact: usize) {
        let thing = self.thing(2 * fact + 1);
        let asked = self.below(2);
        for speaker in 0..2 {
            let (session, turn) = free.take(self.session(), self.dice);
            let city = pick(self.dice, CITIES);
            self.sessions[session][turn + speaker].1 =
                format!("You know, the {thing} I own comes from a small shop in {city}.");
            if speaker == asked {
                let question = format!("Where did {} buy the {thing}?", self.speakers[speaker]);
                self.ask(question, city, &[(session, turn + speaker)], 4);
            }
        }
    }

    /// Employer, and the later one that supersedes it.
    fn employer(&mut self, free: &mut Free, speaker: usize) {
        let middle = self.sessions.len() / 2;
        let early = self.below(middle);
        let late = middle + self.below(middle);
        let mut last = Vec::new();
        for (session, phrase) in
            [(early, "My desk at {company} is by the window."), (late, "My new desk at {company} is by the door.")]
        {
            let (session, turn) = free.take(session, self.dice);
            let company = pick(self.dice, COMPANIES);
            self.sessions[session][turn + speaker].1 = phrase.replace("{company}", company);
            last = vec![(session, turn + speaker)];
        }
        self.ask(
            format!("In which company's office is {}'s desk now?", self.speakers[speaker]),
            "the later one",
            &last,
            4,
        );
    }

    /// Two pastimes in two sessions.
    fn pastimes(&mut self, free: &mut Free, speaker: usize) {
        let mut evidence = Vec::new();
        let first = self.below(PASTIMES.len());
        for pastime in 0..2 {
            let (session, turn) = free.take(self.session(), self.dice);
            let pastime = PASTIMES[(first + pastime) % PASTIMES.len()];
            self.sessions[session][turn + speaker].1 = format!("On Sundays I go {pastime}; it clears my head.");
            evidence.push((session, turn + speaker));
        }
        self.ask(format!("Which pastimes does {} go for on Sundays?", self.speakers[speaker]), "two", &evidence, 1);
    }

    /// Questions without an answer.
    fn unanswered(&mut self) {
        for _ in 0..FACTS {
            let question =
                format!("What did {} pay to insure the {}?", self.speakers[self.below(2)], pick(self.dice, THINGS));
            self.asked.push(Asked { question, answer: None, evidence: Vec::new(), category: 5 });
        }
    }

    fn ask(&mut self, question: String, answer: &str, evidence: &[(usize, usize)], category: u8) {
        let evidence = evidence.iter().map(|(session, turn)| id(*session, *turn)).collect();
        self.asked.push(Asked { question, answer: Some(json!(answer)), evidence, category });
    }

    /// Thing by its number: even ones for details, odd ones for purchases.
    fn thing(&self, number: usize) -> &'static str {
        THINGS[(number + self.speakers[0].len()) % THINGS.len()]
    }

    fn session(&mut self) -> usize {
        self.below(self.sessions.len())
    }

    fn below(&mut self, end: usize) -> usize {
        below(self.dice, end)
    }

    fn finish(mut self, number: usize) -> Sample {
        let mut conversation: BTreeMap<String, Value> = BTreeMap::new();
        for (key, speaker) in ["speaker_a", "speaker_b"].into_iter().zip(self.speakers) {
            conversation.insert(key.to_owned(), json!(speaker));
        }
        for (session, turns) in std::mem::take(&mut self.sessions).into_iter().enumerate() {
            let turns: Vec<Turn> =
                turns.into_iter().enumerate().map(|(turn, text)| self.turn(session, turn, text)).collect();
            let name = format!("session_{}", session + 1);
            conversation.insert(
                format!("{name}_date_time"),
                json!(keyplane_contracts::timestamp::format_millis(moment(session))),
            );
            conversation.insert(name, json!(turns));
        }
        Sample { sample_id: json!(format!("synthetic-{number}")), conversation, qa: self.asked }
    }

    /// Turn, some with an aside in front.
    fn turn(&mut self, session: usize, turn: usize, (speaker, text): (usize, String)) -> Turn {
        let text = if self.dice.below(3) == 0 { format!("{} {text}", pick(self.dice, ASIDES)) } else { text };
        Turn { speaker: self.speakers[speaker].to_owned(), dia_id: id(session, turn), text, blip_caption: None }
    }
}

/// First moment of a session: one every second day.
fn moment(session: usize) -> i64 {
    START + 2 * DAY * i64::try_from(session).unwrap_or(0)
}

fn id(session: usize, turn: usize) -> String {
    format!("D{}:{}", session + 1, turn + 1)
}

fn below(dice: &mut Dice, end: usize) -> usize {
    usize::try_from(dice.below(end as u64)).unwrap_or(0)
}

fn pick(dice: &mut Dice, list: &[&'static str]) -> &'static str {
    list[below(dice, list.len())]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn same_seed_makes_the_same_set() {
        let text = |seed| serde_json::to_string(&generate(2000, seed)).expect("JSON");
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    #[test]
    fn evidence_names_turns_and_stays_in_place() {
        for sample in generate(5000, 7) {
            let sessions = sample.sessions().expect("sessions");
            let turns: HashSet<&str> =
                sessions.iter().flat_map(|session| session.turns.iter().map(|turn| turn.dia_id.as_str())).collect();
            assert_eq!(turns.len(), 500);
            for asked in &sample.qa {
                let evidence = asked.evidence();
                assert!(evidence.iter().all(|id| turns.contains(id.as_str())));
                assert_eq!(evidence.is_empty(), asked.category == 5, "{}", asked.question);
            }
            let planted: Vec<String> = sample.qa.iter().flat_map(Asked::evidence).collect();
            assert_eq!(planted.iter().collect::<HashSet<_>>().len(), planted.len(), "no fact overwrites another");
        }
    }
}
