//! Identity of memories: the same text in the same scope is the same memory.

use icu_normalizer::ComposingNormalizerBorrowed;
use keyplane_contracts::names::Id;
use sha2::{Digest as _, Sha256};

use super::memory::{Kind, MemoryId};
use super::scope::Scope;

/// Text in the form that identity compares: Unicode's NFC, with single spaces between words.
#[must_use]
pub fn normalize(text: &str) -> String {
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(text);
    let mut normal = String::with_capacity(composed.len());
    for word in composed.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.push_str(word);
    }
    normal
}

/// Id of memory number `count` with a text in a scope. Numbers above 0 are for texts that return after they were superseded.
#[must_use]
pub fn memory_id(scope: &Scope, kind: Kind, text: &str, count: u32) -> MemoryId {
    id(scope, kind.number(), &normalize(text), count)
}

/// Id of an event of a session, whichever agent and workflow it is of. The first write of an event stands, whatever the text of
/// another.
#[must_use]
pub fn event_id(scope: &Scope, event: &str) -> MemoryId {
    let session = Scope { agent: None, workflow: None, ..scope.clone() };
    // No kind has this number.
    id(&session, 0, event, 0)
}

fn id(scope: &Scope, kind: u8, content: &str, count: u32) -> MemoryId {
    let mut hash = Sha256::new();
    hash.update(scope.owner.tenant.as_str());
    for part in [&scope.owner.user, &scope.agent, &scope.workflow, &scope.session] {
        hash.update([0]);
        hash.update(part.as_ref().map_or("", Id::as_str));
    }
    hash.update([0, kind]);
    hash.update(count.to_le_bytes());
    hash.update(content);
    let digest = hash.finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    MemoryId::new(scope.owner.partition(), first)
}

#[cfg(test)]
mod tests {
    use keyplane_contracts::names::TenantId;

    use super::super::scope::Owner;
    use super::*;

    fn scope(user: Option<&str>, session: Option<&str>) -> Scope {
        let id = |text: &str| Id::parse(text, "id").expect("an id");
        let tenant = TenantId::parse("acme", "tenant").expect("a tenant");
        Scope { owner: Owner { tenant, user: user.map(id) }, agent: None, workflow: None, session: session.map(id) }
    }

    #[test]
    fn composed_and_spaced_texts_are_the_same_memory() {
        let scope = scope(Some("u1"), None);
        let first = memory_id(&scope, Kind::Semantic, "caf\u{e9}  is\nopen ", 0);
        assert_eq!(first, memory_id(&scope, Kind::Semantic, "cafe\u{301} is open", 0));
        assert_ne!(first, memory_id(&scope, Kind::Semantic, "caf\u{e9} is open", 1));
        assert_ne!(first, memory_id(&scope, Kind::Episodic, "caf\u{e9} is open", 0));
    }

    #[test]
    fn scopes_have_memories_of_their_own() {
        let texts = [scope(Some("u1"), None), scope(Some("u10"), None), scope(None, Some("u1")), scope(None, None)]
            .map(|scope| memory_id(&scope, Kind::Semantic, "0", 0));
        for (at, id) in texts.iter().enumerate() {
            assert!(!texts[..at].contains(id), "{at}");
        }
    }

    #[test]
    fn event_is_told_by_its_session_and_id_alone() {
        let scope = scope(Some("u1"), Some("s1"));
        let agent = Scope { agent: Some(Id::parse("a", "id").expect("an id")), ..scope.clone() };
        assert_eq!(event_id(&scope, "e1"), event_id(&agent, "e1"));
        assert_eq!(event_id(&scope, "e1"), event_id(&scope, "e1"));
        assert_ne!(event_id(&scope, "e1"), event_id(&scope, "e2"));
    }
}
