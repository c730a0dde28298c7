//! Request of UpdateMemory.

use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::rules::memory as stated;
use keyplane_contracts::{Violation, Violations};

use super::times::{expires, moment, now};
use super::vector::vector;
use super::{checked, content, named};
use crate::domain::{MemoryId, MemoryPatch};
use crate::error::Error;

/// Memory to change, and the change. `if_match` is the header.
pub(in crate::grpc) fn update(
    request: pb::UpdateMemoryRequest,
    if_match: Result<Option<String>, Violation>,
) -> Result<(TenantId, MemoryId, MemoryPatch), Error> {
    let mut violations = Violations::new();
    let memory = request.memory.unwrap_or_default();
    let name = violations.keep(named(&memory.name, "memory.name"));
    let revision = revision(&memory.etag, if_match, &mut violations);
    let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    for (index, path) in paths.iter().enumerate() {
        if !stated::MASKABLE.contains(&path.as_str()) {
            violations.extend([Violation::unknown_path(index, path.len(), &stated::MASKABLE)]);
        }
    }
    let removed = content::keys(request.remove_metadata, "remove_metadata", &mut violations);
    let patch = patch(memory, &Mask(paths), &mut violations);
    let patch = MemoryPatch { removed_metadata: removed, revision, ..patch };
    checked(name, violations).map(|(tenant, id)| (tenant, id, patch))
}

/// Fields to write; empty means those that are present.
struct Mask(Vec<String>);

// === impl Mask ===

impl Mask {
    /// Reports whether a field is named; without names every field is.
    fn names(&self, path: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|given| given == path)
    }

    /// List to write: a named one, or one that is present.
    fn list<T>(&self, path: &str, sent: Vec<T>) -> Option<Vec<T>> {
        (self.names(path) && !(self.0.is_empty() && sent.is_empty())).then_some(sent)
    }

    /// Moment to write: a present one, or none where a named one is absent.
    fn moment(&self, paths: &[&str], sent: Option<i64>) -> Option<Option<i64>> {
        let named = paths.iter().any(|path| self.names(path));
        let clears = named && !self.0.is_empty();
        match sent {
            Some(moment) => named.then_some(Some(moment)),
            None => clears.then_some(None),
        }
    }

    /// Value to write: a present one, or the default where a named one is absent.
    fn value<T>(&self, path: &str, sent: Option<T>, unset: T) -> Option<T> {
        match sent {
            Some(value) => self.names(path).then_some(value),
            None => (!self.0.is_empty() && self.names(path)).then_some(unset),
        }
    }
}

fn patch(memory: pb::Memory, mask: &Mask, violations: &mut Violations) -> MemoryPatch {
    let expires = expires(&memory, "memory", now(), violations);
    let valid_until = moment(memory.valid_until_time, "memory.valid_until_time", violations);
    let importance = content::importance(memory.importance, "memory.importance", violations);
    let topics = content::labels(&memory.topics, stated::TOPICS, "memory.topics", violations);
    let entities = content::labels(&memory.entities, stated::ENTITIES, "memory.entities", violations);
    let tags = content::labels(&memory.tags, stated::ENTITIES, "memory.tags", violations);
    let metadata = content::metadata(memory.metadata, "memory.metadata", violations);
    let vector = vector(memory.vector, "memory.vector", violations);
    let text = mask.value("text", (!memory.text.is_empty()).then_some(memory.text), String::new());
    if let Some(text) = &text {
        content::text(text, stated::TEXT, "memory.text", violations);
    } else if vector.is_some() {
        violations.add("memory.vector", "must come with the `text` that it embeds");
    }
    MemoryPatch {
        text,
        vector,
        pinned: mask.value("pinned", memory.pinned, false),
        importance: mask.value("importance", importance, super::remember::IMPORTANCE),
        topics: mask.list("topics", topics),
        entities: mask.list("entities", entities),
        tags: mask.list("tags", tags),
        metadata: if mask.names("metadata") { metadata } else { Default::default() },
        expires: mask.moment(&["expire_time", "ttl"], expires),
        valid_until: mask.moment(&["valid_until_time"], valid_until),
        ..MemoryPatch::default()
    }
}

/// Revision that the header If-Match and the field agree on. Text that is none never matches.
fn revision(sent: &str, if_match: Result<Option<String>, Violation>, violations: &mut Violations) -> Option<i64> {
    let header = violations.keep(if_match).flatten();
    let sent = (!sent.is_empty()).then(|| sent.to_owned());
    if let (Some(header), Some(sent)) = (&header, &sent)
        && header != sent
    {
        violations.add("memory.etag", "must agree with the header If-Match");
    }
    header.or(sent).map(|etag| etag.parse().unwrap_or(-1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(memory: pb::Memory, paths: &[&str]) -> Result<MemoryPatch, String> {
        let mut violations = Violations::new();
        let mask = Mask(paths.iter().map(|path| (*path).to_owned()).collect());
        let patch = patch(memory, &mask, &mut violations);
        if violations.is_empty() { Ok(patch) } else { Err(violations.to_string()) }
    }

    #[test]
    fn without_a_mask_present_fields_are_written() {
        let memory = pb::Memory { pinned: Some(false), tags: vec!["a".to_owned()], ..pb::Memory::default() };
        let patch = read(memory, &[]).expect("a patch");
        let expected = MemoryPatch { pinned: Some(false), tags: Some(vec!["a".into()]), ..MemoryPatch::default() };
        assert_eq!(patch, expected);
        assert_eq!(read(pb::Memory::default(), &[]), Ok(MemoryPatch::default()));
    }

    #[test]
    fn with_a_mask_absent_fields_are_cleared_and_others_are_ignored() {
        let memory = pb::Memory { pinned: Some(true), importance: Some(1.0), ..pb::Memory::default() };
        let patch = read(memory, &["pinned", "tags", "valid_until_time", "expire_time"]).expect("a patch");
        let expected = MemoryPatch {
            pinned: Some(true),
            tags: Some(Vec::new()),
            valid_until: Some(None),
            expires: Some(None),
            ..MemoryPatch::default()
        };
        assert_eq!(patch, expected);
    }

    #[test]
    fn text_is_never_cleared_and_a_vector_belongs_to_one() {
        let vector = Some(pb::Vector { values: vec![1.0] });
        let alone = pb::Memory { vector: vector.clone(), ..pb::Memory::default() };
        assert_eq!(read(alone, &[]), Err("memory.vector: must come with the `text` that it embeds".to_owned()));
        let both = pb::Memory { vector, text: "new".to_owned(), ..pb::Memory::default() };
        assert_eq!(read(both, &[]).map(|patch| patch.vector.is_some()), Ok(true));
        assert!(read(pb::Memory::default(), &["text"]).is_err());
    }
}
