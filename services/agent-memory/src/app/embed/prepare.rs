//! Drafts of memories: long texts are split, tokens are counted, and every piece gets its embedding.

use std::ops::Range;

use keyplane_contracts::Violation;

use super::Embed;
use crate::domain::sketch::normalize;
use crate::domain::split::{MOST_TOKENS, split};
use crate::domain::text::spoken;
use crate::domain::{Draft, DraftPiece, Embedding, NewMemory, Piece, Scope, Space, SpaceId};
use crate::error::Error;
use crate::peers::embed::Purpose;

// === impl Embed ===

impl Embed {
    /// Makes drafts of `memories` in `space`, or in the default space. Texts without a vector are embedded together; a memory
    /// that fails alone, such as one whose vector has another dimension, has its error in its place. Where no space is declared at
    /// all, drafts have no embedding.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSpace`], or [`Error::EmbedderUnavailable`]; there is no draft then.
    pub async fn prepare(
        &self,
        scope: &Scope,
        space: Option<&SpaceId>,
        memories: Vec<NewMemory>,
    ) -> Result<Vec<Result<Draft, Error>>, Error> {
        let space = match space {
            None if self.spaces().next().is_none() => None,
            space => Some(self.space(space)?),
        };
        let numbered = memories.into_iter().enumerate();
        let mut drafts: Vec<Result<Draft, Error>> =
            numbered.map(|(index, memory)| self.divide(space, index, memory)).collect();
        if let Some(space) = space {
            self.embed_pieces(scope, space, &mut drafts).await?;
        }
        Ok(drafts)
    }

    /// Splits a text, unless the caller embedded it as a whole.
    fn divide(&self, space: Option<&Space>, index: usize, mut memory: NewMemory) -> Result<Draft, Error> {
        let count = |text: &str| self.counter.count(text);
        let tokens = count(&memory.text);
        let whole = |embedding| vec![DraftPiece { piece: None, tokens, embedding }];
        let pieces = match (memory.vector.take(), space) {
            (Some(_), None) => return Err(Error::UnknownSpace { space: "default".to_owned() }),
            (Some(vector), Some(space)) => {
                let vector = unit(space, index, &vector)?;
                whole(Some(Embedding { vector, sketch: None, tokens: 0 }))
            }
            (None, Some(space)) if !self.embeds(&space.id) => {
                return Err(Error::VectorRequired { space: space.id.clone() });
            }
            (None, _) => match split(&memory.text, MOST_TOKENS, &count).as_slice() {
                [] | [_] => whole(None),
                ranges => ranges.iter().map(|range| piece(range, count(&memory.text[range.clone()]))).collect(),
            },
        };
        Ok(Draft { memory, tokens, space: space.cloned(), pieces })
    }

    /// Embeds the pieces that have no embedding, all at once. The speaker's name is a part of each text.
    async fn embed_pieces(
        &self,
        scope: &Scope,
        space: &Space,
        drafts: &mut [Result<Draft, Error>],
    ) -> Result<(), Error> {
        let texts: Vec<String> = drafts.iter().flatten().flat_map(texts).collect();
        if texts.is_empty() {
            return Ok(());
        }
        let embeddings = self.texts(&scope.owner, &space.id, Purpose::Passage, &texts).await?;
        let pieces = drafts.iter_mut().flatten().flat_map(|draft| &mut draft.pieces);
        let open = pieces.filter(|piece| piece.embedding.is_none());
        for (piece, embedding) in open.zip(embeddings) {
            piece.embedding = Some(embedding);
        }
        Ok(())
    }
}

/// Texts of the pieces that have no embedding.
fn texts(draft: &Draft) -> impl Iterator<Item = String> {
    let open = draft.pieces.iter().filter(|piece| piece.embedding.is_none());
    open.map(|piece| {
        let text = &draft.memory.text;
        let text = piece.piece.map_or(text.as_str(), |piece| piece.slice(text));
        spoken(&draft.memory.speaker, text).into_owned()
    })
}

fn piece(range: &Range<usize>, tokens: u32) -> DraftPiece {
    let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let piece = Piece { start: bound(range.start), end: bound(range.end) };
    DraftPiece { piece: Some(piece), tokens, embedding: None }
}

/// Vector of length 1 in the space.
///
/// # Errors
///
/// [`Error::Invalid`] with the path of the memory in the request.
fn unit(space: &Space, index: usize, vector: &[f32]) -> Result<Vec<f32>, Error> {
    let invalid = |rule: String| Error::invalid(Violation::new(format!("memories[{index}].vector"), rule));
    if vector.len() != usize::from(space.dimension) {
        let (dimension, id, found) = (space.dimension, space.id.as_str(), vector.len());
        return Err(invalid(format!("must have {dimension} values, as space {id} declares; it has {found}")));
    }
    let rule = "must have a direction: finite values, not all of them 0";
    normalize(vector).ok_or_else(|| invalid(rule.to_owned()))
}
