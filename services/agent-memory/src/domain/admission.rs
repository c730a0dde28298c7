//! Admission: which memories a recall may return, by scope, filter and time.

use super::item::Item;
use super::memory::{Memory, State};
use super::scope::Scope;
use super::text::name_hash;
use super::write::Filter;

/// Conditions of a recall.
#[derive(Clone, Debug)]
pub struct Admission<'a> {
    scope: &'a Scope,
    filter: &'a Filter,
    /// Moment whose memories are recalled.
    moment: i64,
    /// True for a moment of the past, of which superseded memories are served too.
    history: bool,
    now: i64,
    agent: Option<u32>,
    workflow: Option<u32>,
    entities: Vec<u32>,
}

// === impl Admission ===

impl<'a> Admission<'a> {
    /// Conditions of a scope and a filter, at `as_of`, or now. Times are in milliseconds since 1970.
    #[must_use]
    pub fn new(scope: &'a Scope, filter: &'a Filter, as_of: Option<i64>, now: i64) -> Admission<'a> {
        let hash = |id: &keyplane_contracts::names::Id| name_hash(id.as_str());
        Admission {
            scope,
            filter,
            moment: as_of.unwrap_or(now),
            history: as_of.is_some(),
            now,
            agent: scope.agent.as_ref().map(hash),
            workflow: scope.workflow.as_ref().map(hash),
            entities: filter.entities.iter().map(|entity| name_hash(entity)).collect(),
        }
    }

    /// Returns whether an item may be scored. Names are compared by their hashes, and topics and tags not at all:
    /// [`Self::admits`] decides.
    #[must_use]
    pub fn admits_item(&self, item: &Item) -> bool {
        let is_in = |wanted: Option<u32>, own: u32| wanted.is_none_or(|wanted| wanted == own);
        item.expires > self.now
            && (self.history || !item.superseded)
            && (item.valid_from..item.valid_until).contains(&self.moment)
            && is_in(self.agent, item.agent)
            && is_in(self.workflow, item.workflow)
            && (self.filter.kinds.is_empty() || self.filter.kinds.contains(&item.kind))
            && (self.entities.is_empty() || self.entities.iter().any(|entity| item.entities.contains(entity)))
            && self.is_in_time(item.time)
            && (!self.filter.pinned || item.pinned)
    }

    /// Returns whether a memory may be returned.
    #[must_use]
    pub fn admits(&self, memory: &Memory) -> bool {
        let is_valid = memory.valid_from.is_none_or(|from| from <= self.moment)
            && memory.valid_until.is_none_or(|until| until > self.moment);
        let filter = self.filter;
        memory.expires > self.now
            && (self.history || memory.state == State::Current)
            && is_valid
            && self.is_in_scope(&memory.scope)
            && (filter.kinds.is_empty() || filter.kinds.contains(&memory.kind))
            && has_any(&filter.topics, &memory.topics)
            && has_any(&filter.entities, &memory.entities)
            && filter.tags.iter().all(|tag| memory.tags.contains(tag))
            && self.is_in_time(memory.event_time)
            && (!filter.pinned || memory.pinned)
    }

    /// Returns whether items tell too little: topics and tags stand in memories alone.
    #[must_use]
    pub fn needs_memory(&self) -> bool {
        !self.filter.topics.is_empty() || !self.filter.tags.is_empty()
    }

    fn is_in_time(&self, time: i64) -> bool {
        self.filter.event_from.is_none_or(|from| from <= time)
            && self.filter.event_until.is_none_or(|until| time < until)
    }

    /// Returns whether a memory is of the scope, or shared by all users of its tenant.
    fn is_in_scope(&self, scope: &Scope) -> bool {
        let is_owned = scope.owner.tenant == self.scope.owner.tenant
            && (scope.owner.user == self.scope.owner.user || scope.owner.user.is_none());
        is_owned
            && is_any(self.scope.agent.as_ref(), scope.agent.as_ref())
            && is_any(self.scope.workflow.as_ref(), scope.workflow.as_ref())
            && is_any(self.scope.session.as_ref(), scope.session.as_ref())
    }
}

/// Returns whether a value is the wanted one, or any is.
fn is_any<T: PartialEq>(wanted: Option<&T>, own: Option<&T>) -> bool {
    wanted.is_none() || wanted == own
}

fn has_any<T: PartialEq>(wanted: &[T], own: &[T]) -> bool {
    wanted.is_empty() || wanted.iter().any(|name| own.contains(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use compact_str::CompactString;
    use keyplane_contracts::names::{Id, TenantId};
    use proptest::prelude::*;

    use super::super::memory::{Kind, MemoryId, Source};
    use super::super::scope::{Owner, Partition};
    use super::*;

    const NOW: i64 = 1_000;

    fn id(text: &str) -> Option<Id> {
        Id::parse(text, "id").ok()
    }

    fn scope(user: &str, agent: &str, session: &str) -> Scope {
        let tenant = TenantId::parse("acme", "tenant").expect("a tenant");
        Scope { owner: Owner { tenant, user: id(user) }, agent: id(agent), workflow: None, session: id(session) }
    }

    fn memory(scope: Scope) -> Memory {
        Memory {
            id: MemoryId::new(Partition::new(0).expect("a partition"), [0; 16]),
            scope,
            kind: Kind::Semantic,
            space: None,
            text: String::new(),
            speaker: CompactString::default(),
            subject: CompactString::default(),
            topics: Vec::new(),
            entities: Vec::new(),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            importance: 0.0,
            pinned: false,
            event_time: 0,
            created: 0,
            accessed: 0,
            access_count: 0,
            valid_from: None,
            valid_until: None,
            expires: i64::MAX,
            state: State::Current,
            supersedes: None,
            source: Source::default(),
            tokens: 1,
            revision: 1,
        }
    }

    /// Item of a memory, as the store writes it.
    fn item(memory: &Memory) -> Item {
        let hash = |id: &Option<Id>| id.as_ref().map_or(0, |id| name_hash(id.as_str()));
        Item {
            entities: memory.entities.iter().map(|entity| name_hash(entity)).collect(),
            time: memory.event_time,
            agent: hash(&memory.scope.agent),
            workflow: hash(&memory.scope.workflow),
            valid_from: memory.valid_from.unwrap_or(i64::MIN),
            valid_until: memory.valid_until.unwrap_or(i64::MAX),
            expires: memory.expires,
            pinned: memory.pinned,
            superseded: memory.state != State::Current,
            ..Item::new(memory.id, memory.kind, 0)
        }
    }

    fn superseded(memory: Memory, at: i64) -> Memory {
        let by = MemoryId::new(Partition::new(0).expect("a partition"), [1; 16]);
        Memory { state: State::Superseded { by, at }, valid_until: Some(at), ..memory }
    }

    fn admits(asked: &Scope, filter: &Filter, as_of: Option<i64>, memory: &Memory) -> bool {
        Admission::new(asked, filter, as_of, NOW).admits(memory)
    }

    #[test]
    fn user_sees_own_and_shared_memories_alone() {
        let (asked, none) = (scope("user1", "", ""), Filter::default());
        for (owner, expected) in [("user1", true), ("", true), ("user10", false), ("USER1", false)] {
            assert_eq!(admits(&asked, &none, None, &memory(scope(owner, "", ""))), expected, "{owner}");
        }
        assert!(!admits(&scope("", "", ""), &none, None, &memory(scope("user1", "", ""))));
    }

    #[test]
    fn names_are_compared_exactly_though_items_hold_hashes() {
        let (asked, none) = (scope("u", "a-1", ""), Filter::default());
        let other = memory(scope("u", "A.1", ""));
        assert!(Admission::new(&asked, &none, None, NOW).admits_item(&item(&other)), "the hash folds names");
        assert!(!admits(&asked, &none, None, &other));
        assert!(!admits(&asked, &none, None, &memory(scope("u", "", ""))));
        assert!(admits(&scope("u", "", ""), &none, None, &other), "no agent means any");
    }

    #[test]
    fn superseded_memory_is_served_for_its_own_time_alone() {
        let (asked, none) = (scope("u", "", ""), Filter::default());
        let old = superseded(memory(scope("u", "", "")), 500);
        assert!(!admits(&asked, &none, None, &old));
        assert!(admits(&asked, &none, Some(499), &old));
        assert!(!admits(&asked, &none, Some(500), &old));
    }

    #[test]
    fn topics_are_any_and_tags_are_all() {
        let own = scope("u", "", "");
        let tagged = Memory { topics: vec!["a".into()], tags: vec!["x".into(), "y".into()], ..memory(own.clone()) };
        let filter = |topics: &[&str], tags: &[&str]| Filter {
            topics: topics.iter().map(CompactString::new).collect(),
            tags: tags.iter().map(CompactString::new).collect(),
            ..Filter::default()
        };
        for (topics, tags, expected) in
            [(&["b", "a"][..], &["x"][..], true), (&["b"], &[], false), (&[], &["x", "z"], false), (&[], &[], true)]
        {
            let filter = filter(topics, tags);
            assert_eq!(admits(&own, &filter, None, &tagged), expected, "{topics:?} {tags:?}");
            assert_eq!(Admission::new(&own, &filter, None, NOW).needs_memory(), !topics.is_empty() || !tags.is_empty());
        }
    }

    fn any_time() -> impl Strategy<Value = Option<i64>> {
        proptest::option::of(990_i64..1_010)
    }

    prop_compose! {
        fn any_memory()(
            user in "[uv]?", agent in "[ab]?", session in "[st]?", pinned: bool, event in 990_i64..1_010, expires in 990_i64..1_010,
            (from, until, gone) in (any_time(), any_time(), any_time()), kind in 0_usize..7, entities in proptest::collection::vec("[pq]", 0..2),
        ) -> Memory {
            let made = Memory {
                kind: Kind::ALL[kind], pinned, event_time: event, expires, valid_from: from, valid_until: until,
                entities: entities.into_iter().map(CompactString::from).collect(),
                ..memory(scope(&user, &agent, &session))
            };
            match gone { Some(at) => superseded(made, at), None => made }
        }
    }

    prop_compose! {
        fn any_filter()(
            kinds in proptest::collection::vec(0_usize..7, 0..4), entities in proptest::collection::vec("[pq]", 0..2),
            event_from in any_time(), event_until in any_time(), pinned: bool,
        ) -> Filter {
            let kinds = kinds.into_iter().map(|kind| Kind::ALL[kind]).collect();
            let entities = entities.into_iter().map(CompactString::from).collect();
            Filter { kinds, entities, event_from, event_until, pinned, ..Filter::default() }
        }
    }

    proptest! {
        #[test]
        fn items_never_hide_an_admitted_memory(
            memory in any_memory(), filter in any_filter(), as_of in any_time(), user in "[uv]?", agent in "[ab]?",
        ) {
            let asked = scope(&user, &agent, "");
            let admission = Admission::new(&asked, &filter, as_of, NOW);
            if admission.admits(&memory) {
                prop_assert!(admission.admits_item(&item(&memory)));
            }
        }

        #[test]
        fn nothing_stale_or_expired_is_admitted_as_current(memory in any_memory(), user in "[uv]?") {
            if admits(&scope(&user, "", ""), &Filter::default(), None, &memory) {
                prop_assert!(memory.state == State::Current && memory.expires > NOW);
                prop_assert!(memory.valid_until.is_none_or(|until| until > NOW) && memory.valid_from.is_none_or(|from| from <= NOW));
                prop_assert!(memory.scope.owner.user == id(&user) || memory.scope.owner.user.is_none());
            }
        }
    }
}
