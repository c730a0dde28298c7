//! Documents by the schemas of a definition, ready to be written.

use crate::domain::conversion::convert;
use crate::domain::indexed::{Content, Indexed};
use crate::domain::{Build, Column, Definition, Document, Layout, RawDocument, Stored, validate};
use crate::error::Error;
use crate::store::documents::{Put, Room};

/// Document that fits the live schema.
pub(super) struct Prepared {
    pub(super) document: Document,
    /// Revision that the stored document must have.
    pub(super) revision: Option<i64>,
    /// Terms of that revision in the live generation, separated by spaces; empty without one.
    pub(super) before: String,
    pub(super) live: Indexed,
    /// Form in the second generation, or the reason why it has none.
    pub(super) second: Option<Result<Indexed, String>>,
}

/// Schemas and columns of a definition's generations.
pub(super) struct Forms<'a> {
    definition: &'a Definition,
    live: Layout,
    second: Option<(&'a Build, Layout)>,
}

// === impl Forms ===

impl<'a> Forms<'a> {
    pub(super) fn new(definition: &'a Definition) -> Forms<'a> {
        let second = definition.second().map(|build| (build, build.layout()));
        Forms { definition, live: definition.live.layout(), second }
    }

    /// Applies the live schema to a document from a request.
    pub(super) fn validate(&self, raw: &RawDocument) -> Result<Prepared, Error> {
        let document = validate::document(&self.definition.live.schema, raw).map_err(Error::Invalid)?;
        Ok(self.prepare(document))
    }

    /// Prepares a document that the live schema admits, in place of the stored one.
    pub(super) fn replace(&self, stored: &Stored, document: Document) -> Prepared {
        let before = self.index(&stored.document).terms;
        Prepared { revision: Some(stored.revision), before, ..self.prepare(document) }
    }

    fn prepare(&self, document: Document) -> Prepared {
        let collection = &self.definition.name.collection;
        let live = self.index(&document);
        let second = self.second.as_ref().map(|(build, layout)| {
            let converted = convert(&document, &build.schema).map_err(|misfit| misfit.to_string())?;
            Ok(Indexed::new(&build.schema, layout, collection, &converted))
        });
        Prepared { document, revision: None, before: String::new(), live, second }
    }

    /// Form in the live generation.
    fn index(&self, document: &Document) -> Indexed {
        Indexed::new(&self.definition.live.schema, &self.live, &self.definition.name.collection, document)
    }
}

// === impl Prepared ===

impl Prepared {
    pub(super) fn put(&self, room: Room) -> Put<'_> {
        Put {
            id: &self.document.id,
            version: self.document.version,
            expires: self.document.expires,
            revision: self.revision,
            room,
            live: &self.live,
            second: self.second.as_ref().map(|second| second.as_ref().map_err(String::as_str)),
        }
    }

    /// Size in a script's arguments, about.
    pub(super) fn bytes(&self) -> usize {
        let size = |indexed: &Indexed| 2 * (indexed.body.len() + indexed.terms.len()) + indexed.packed.len();
        let second = self.second.as_ref().and_then(|second| second.as_ref().ok());
        size(&self.live) + second.map_or(0, size)
    }

    /// Number of tags, in the live generation.
    pub(super) fn tags(&self) -> usize {
        let count = |(_, content): &(Column, Content)| match content {
            Content::Tokens(tokens) => 1 + tokens.bytes().filter(|byte| *byte == b'|').count(),
            Content::Terms(_) | Content::Number(_) => 0,
        };
        self.live.columns.iter().map(count).sum()
    }

    /// Terms in the second generation, separated by spaces.
    pub(super) fn second_terms(&self) -> &str {
        self.second.as_ref().and_then(|second| second.as_ref().ok()).map_or("", |second| &second.terms)
    }
}
