//! Speakers and entities that a question names.

use std::collections::HashSet;

use super::super::item::{Item, Session};
use super::super::question::Question;
use super::super::text::name_hash;
use super::parts::items;

/// Only speaker or entity that a question names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    /// Speaker; none if it is an entity.
    speaker: Option<&'a str>,
    /// Hash of the name.
    hash: u32,
}

// === impl Named ===

impl<'a> Named<'a> {
    /// The one speaker of `sessions` that the question names; if it names none, the one entity.
    pub(super) fn find(question: &Question, sessions: &'a [Session]) -> Option<Named<'a>> {
        let speakers: HashSet<&str> = items(sessions).map(|item| item.speaker.as_str()).collect();
        let mut speakers = speakers.into_iter().filter(|speaker| question.holds_name(speaker));
        if let Some(speaker) = speakers.next() {
            let named = Named { speaker: Some(speaker), hash: name_hash(speaker) };
            return speakers.next().is_none().then_some(named);
        }
        let entities: HashSet<u32> = items(sessions).flat_map(|item| item.entities.iter().copied()).collect();
        let mut entities = entities.into_iter().filter(|entity| question.names.contains(entity));
        let named = Named { speaker: None, hash: entities.next()? };
        entities.next().is_none().then_some(named)
    }

    /// Returns whether a memory is the speaker's, or about the entity.
    pub(super) fn has(self, item: &Item) -> bool {
        self.speaker.is_some_and(|speaker| item.speaker == speaker) || item.entities.contains(&self.hash)
    }
}
