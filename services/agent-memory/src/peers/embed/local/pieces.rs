//! Content word-pieces: those that say something about the text's subject.

use tokenizers::{Encoding, Tokenizer};

use crate::domain::text::is_content_piece;

/// Vocabulary of a model, each piece judged once.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// By id: true for content.
    content: Vec<bool>,
}

// === impl Vocabulary ===

impl Vocabulary {
    /// Vocabulary of `tokenizer`; none if its ids do not fit the 16 bits of a sketch.
    pub(super) fn new(tokenizer: &Tokenizer) -> Option<Vocabulary> {
        let pieces = tokenizer.get_vocab(true);
        let marks = tokenizer.get_added_tokens_decoder();
        let highest = u16::try_from(*pieces.values().max()?).ok()?;
        let mut content = vec![false; usize::from(highest) + 1];
        for (piece, id) in pieces {
            // Sentence-piece and byte-pair vocabularies mark the begin of a word.
            let plain = piece.trim_start_matches(['▁', 'Ġ']);
            content[id as usize] = !marks.contains_key(&id) && is_content_piece(plain);
        }
        Some(Vocabulary { content })
    }

    /// Positions and ids of the content pieces after the first `prefix` bytes.
    pub(super) fn content(&self, encoding: &Encoding, prefix: usize) -> Vec<(usize, u16)> {
        let pieces = encoding.get_ids().iter().zip(encoding.get_offsets()).enumerate();
        let content = pieces.filter_map(|(at, (id, (start, _)))| {
            let kept = *start >= prefix && self.content.get(*id as usize).copied().unwrap_or(false);
            kept.then_some((at, u16::try_from(*id).ok()?))
        });
        content.collect()
    }
}
