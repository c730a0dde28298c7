//! Scan of folded clusters: words, pairs and joined forms.

use unicode_segmentation::UnicodeSegmentation as _;

use super::classes::Class;
use super::fold::Folded;
use super::stem::Stems;
use super::{MAX_TERM_BYTES, Slot, Tokens, cut, narrow};

/// Largest number of words in a joined form.
const MAX_JOINED: usize = 8;
/// Largest number of words that a run is split into; `a47dfd5910d7` is one word.
const MAX_SPLIT: usize = 4;

/// Builder of [`Tokens`], fed cluster by cluster.
pub(super) struct Scanner<'s> {
    stems: &'s Stems,
    tokens: Tokens,
    /// Word that is being read.
    word: Option<Word>,
    surface: String,
    /// Spelling of the word, from its first letter with a diacritic on.
    spelling: String,
    /// Words that touch each other, as indices of slots: `ab` and `12` in `ab12-cd`.
    run: Vec<usize>,
    /// Words that joints connect, as indices of slots: all of `ab12-cd`.
    chain: Vec<usize>,
    /// Number of runs in the chain.
    runs: usize,
    /// True if the chain is a version such as `1.2.3-4`, which has no joined form.
    version: bool,
    /// Joint behind the last word.
    joint: Option<Class>,
    /// Last cluster of a script without spaces.
    pair: Option<Letter>,
}

/// Word that is being read.
struct Word {
    class: Class,
    start: usize,
    end: usize,
    /// True once surface and spelling differ.
    differs: bool,
}

/// Cluster that waits for its successor.
struct Letter {
    surface: String,
    spelling: String,
    start: usize,
    end: usize,
    /// True once it is in a pair.
    paired: bool,
}

// === impl Scanner ===

impl<'s> Scanner<'s> {
    pub(super) fn new(stems: &'s Stems, bytes: usize) -> Scanner<'s> {
        let tokens =
            Tokens { forms: String::with_capacity(bytes * 2), slots: Vec::with_capacity(bytes / 4), positions: 0 };
        Scanner {
            stems,
            tokens,
            word: None,
            surface: String::new(),
            spelling: String::new(),
            run: Vec::new(),
            chain: Vec::new(),
            runs: 0,
            version: false,
            joint: None,
            pair: None,
        }
    }

    /// Takes the next cluster, which lies at `start..end`.
    pub(super) fn push(&mut self, folded: &Folded<'_>, start: usize, end: usize) {
        match folded.class {
            Class::Letter | Class::Digit => {
                self.end_pairs();
                self.letter(folded, start, end);
            }
            Class::Pair => {
                self.end_chain();
                self.pair(folded, start, end);
            }
            Class::Emoji => {
                self.end_pairs();
                self.end_chain();
                let spelling = (folded.spelling != folded.surface).then_some(folded.spelling);
                self.add(folded.surface, spelling, None, start, end);
            }
            Class::Joint | Class::Point => {
                self.end_pairs();
                self.joint(folded.class);
            }
            Class::Ignored => {}
            Class::Other => {
                self.end_pairs();
                self.end_chain();
            }
        }
    }

    pub(super) fn finish(mut self) -> Tokens {
        self.end_pairs();
        self.end_chain();
        self.tokens
    }

    /// Takes a run of ASCII letters or of digits, which begins at `start`: the same as its characters one by one.
    pub(super) fn push_ascii(&mut self, class: Class, run: &str, start: usize) {
        self.end_pairs();
        let differs = self.word(class, start, start + run.len()).differs;
        push_lowercase(&mut self.surface, run);
        if differs {
            push_lowercase(&mut self.spelling, run);
        }
    }

    /// Returns whether a word of letters ends at `start`.
    pub(super) fn is_behind_a_letter(&self, start: usize) -> bool {
        self.word.as_ref().is_some_and(|word| word.class == Class::Letter && word.end == start)
    }

    /// Takes signs that are a word, at `start..end`, directly behind the word that they touch.
    pub(super) fn push_sign_word(&mut self, form: &str, start: usize, end: usize) {
        self.end_word();
        let index = self.tokens.slots.len();
        let stem = self.stems.stem(form, form);
        self.add(form, None, stem.as_deref(), start, end);
        self.run.push(index);
        self.chain.push(index);
    }

    fn letter(&mut self, folded: &Folded<'_>, start: usize, end: usize) {
        let word = self.word(folded.class, start, end);
        let first = !word.differs && folded.spelling != folded.surface;
        word.differs |= first;
        let differs = word.differs;
        if first {
            self.spelling.push_str(&self.surface);
        }
        if differs {
            self.spelling.push_str(folded.spelling);
        }
        self.surface.push_str(folded.surface);
    }

    /// Word that a letter or digit at `start..end` belongs to.
    fn word(&mut self, class: Class, start: usize, end: usize) -> &mut Word {
        if self.word.as_ref().is_some_and(|word| word.class != class) {
            self.end_word();
        }
        if let Some(joint) = self.joint.take() {
            self.connect(joint, class);
        }
        let word = self.word.get_or_insert(Word { class, start, end, differs: false });
        word.end = end;
        word
    }

    /// Ends the word before a joint; a second joint in a row ends the chain.
    fn joint(&mut self, class: Class) {
        self.end_word();
        self.end_run();
        if self.joint.replace(class).is_some() {
            self.end_chain();
        }
    }

    /// Goes on behind a joint. Numbers around a point, in a chain that begins with a number, are a version.
    fn connect(&mut self, joint: Class, class: Class) {
        let is_number = |index: Option<&usize>| {
            let form =
                index.and_then(|index| self.tokens.slots.get(*index)).map(|slot| self.tokens.form(&slot.surface));
            form.is_some_and(|form| form.starts_with(char::is_numeric))
        };
        let numbers = joint == Class::Point && class == Class::Digit && is_number(self.chain.last());
        self.version |= numbers && is_number(self.chain.first());
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        let mut surface = std::mem::take(&mut self.surface);
        let mut spelling = std::mem::take(&mut self.spelling);
        let whole = surface.len() <= MAX_TERM_BYTES;
        let spelt = if word.differs { cut(&spelling, MAX_TERM_BYTES) } else { &surface };
        let stems = whole && word.class == Class::Letter;
        let stem = if stems { self.stems.stem(spelt, &surface) } else { None };
        let index = self.tokens.slots.len();
        let differing = word.differs.then_some(spelt);
        self.add(cut(&surface, MAX_TERM_BYTES), differing, stem.as_deref(), word.start, word.end);
        self.run.push(index);
        self.chain.push(index);
        surface.clear();
        spelling.clear();
        self.surface = surface;
        self.spelling = spelling;
    }

    fn end_run(&mut self) {
        let mut words = std::mem::take(&mut self.run);
        self.runs += usize::from(!words.is_empty());
        if words.len() > MAX_SPLIT {
            self.unite(&words);
        } else {
            self.join(&words);
        }
        words.clear();
        self.run = words;
    }

    fn end_chain(&mut self) {
        self.end_word();
        self.end_run();
        let mut words = std::mem::take(&mut self.chain);
        if self.runs > 1 && !self.version {
            self.join(&words);
        }
        words.clear();
        self.chain = words;
        self.runs = 0;
        self.version = false;
        self.joint = None;
    }

    /// Replaces the last words, which are a run, by one.
    fn unite(&mut self, words: &[usize]) {
        let Some(slots) = words.first().and_then(|first| self.tokens.slots.get(*first..)) else { return };
        let ([first, ..], [.., last]) = (slots, slots) else { return };
        let (start, end) = (first.start as usize, last.end as usize);
        let (index, position) = (words[0], first.position);
        let surface: String = slots.iter().map(|slot| self.tokens.form(&slot.surface)).collect();
        self.tokens.slots.truncate(index);
        self.tokens.positions = position;
        self.chain.truncate(self.chain.len().saturating_sub(words.len()));
        self.chain.push(index);
        self.add(cut(&surface, MAX_TERM_BYTES), None, None, start, end);
    }

    /// Adds the joined form of words that lie next to each other.
    fn join(&mut self, words: &[usize]) {
        if !(2..=MAX_JOINED).contains(&words.len()) {
            return;
        }
        let slots: Vec<&Slot> = words.iter().filter_map(|index| self.tokens.slots.get(*index)).collect();
        let [first, .., last] = slots.as_slice() else { return };
        let (position, start, end) = (first.position, first.start, last.end);
        let surface: String = slots.iter().map(|slot| self.tokens.form(&slot.surface)).collect();
        if surface.len() > MAX_TERM_BYTES {
            return;
        }
        let surface = self.tokens.store(&[&surface]);
        let span = narrow(words.len());
        self.tokens.slots.push(Slot { position, span, start, end, surface, spelling: None, stem: None, joined: true });
    }

    /// Pairs a cluster with the one before it. One that folds into several, such as `🈀` into `ほか`, counts as those.
    fn pair(&mut self, folded: &Folded<'_>, start: usize, end: usize) {
        let mut spellings = folded.spelling.graphemes(true);
        for surface in folded.surface.graphemes(true) {
            let spelling = spellings.next().unwrap_or(surface);
            self.pair_one(surface, spelling, start, end);
        }
    }

    fn pair_one(&mut self, surface: &str, spelling: &str, start: usize, end: usize) {
        let next = Letter {
            surface: surface.to_owned(),
            spelling: spelling.to_owned(),
            start,
            end,
            paired: self.pair.is_some(),
        };
        if let Some(before) = self.pair.replace(next) {
            let surface = before.surface + surface;
            let spelling = before.spelling + spelling;
            let differing = (spelling != surface).then_some(spelling.as_str());
            self.add(cut(&surface, MAX_TERM_BYTES), differing, None, before.start, end);
        }
    }

    /// Ends a run of pairs; a cluster that found no partner is a word.
    fn end_pairs(&mut self) {
        if let Some(letter) = self.pair.take().filter(|letter| !letter.paired) {
            let differing = (letter.spelling != letter.surface).then_some(letter.spelling.as_str());
            self.add(cut(&letter.surface, MAX_TERM_BYTES), differing, None, letter.start, letter.end);
        }
    }

    /// Adds a word at the next position.
    fn add(&mut self, surface: &str, spelling: Option<&str>, stem: Option<&str>, start: usize, end: usize) {
        let position = self.tokens.positions;
        self.tokens.positions += 1;
        let surface = self.tokens.store(&[surface]);
        let spelling = spelling.map(|spelling| self.tokens.store(&[cut(spelling, MAX_TERM_BYTES)]));
        let stem = stem.map(|stem| self.tokens.store(&["_", stem]));
        let (start, end) = (narrow(start), narrow(end));
        self.tokens.slots.push(Slot { position, span: 1, start, end, surface, spelling, stem, joined: false });
    }
}

fn push_lowercase(form: &mut String, run: &str) {
    let start = form.len();
    form.push_str(run);
    form[start..].make_ascii_lowercase();
}
