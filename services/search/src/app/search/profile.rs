//! Profiles: what searches of one generation have in common, derived once from its definition.

use std::collections::HashMap;
use std::sync::Arc;

use keyplane_contracts::names::CollectionName;
use parking_lot::Mutex;

use crate::app::samples::Place;
use crate::domain::query::Vocabulary;
use crate::domain::{Build, Column, Definition, FieldKind, Language, Layout, Schema, Scope};

/// Maximum of profiles in memory, some 10 KiB each.
const MAX_PROFILES: usize = 2_048;

/// Generation of a collection, prepared for searches.
#[derive(Debug)]
pub(super) struct Profile {
    /// Generation and its index.
    pub(super) place: Place,
    /// Scope of every query.
    pub(super) scope: Scope,
    /// Definition of the generation.
    pub(super) build: Build,
    /// Schema of the generation.
    pub(super) schema: Schema,
    /// Columns of the schema.
    pub(super) layout: Layout,
    /// Synonyms and stop words.
    pub(super) vocabulary: Vocabulary,
    /// Text fields.
    pub(super) texts: Vec<TextField>,
}

/// Text field of a schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextField {
    /// Position in the schema.
    pub(super) position: usize,
    /// Ordinal of the column.
    pub(super) column: u8,
    /// Importance of a match.
    pub(super) weight: f32,
    /// Language of the stemmer.
    pub(super) language: Language,
}

/// Profiles in this process. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Profiles(Arc<Mutex<HashMap<(CollectionName, u32), Known>>>);

struct Known {
    /// Revision of the definition that the profile was derived from.
    revision: u64,
    profile: Arc<Profile>,
}

// === impl Profiles ===

impl Profiles {
    /// Profile of a generation.
    pub(super) fn get(&self, definition: &Definition, build: &Build) -> Arc<Profile> {
        let key = (definition.name.clone(), build.generation.number);
        if let Some(known) = self.0.lock().get(&key).filter(|known| known.revision == definition.revision) {
            return known.profile.clone();
        }
        let profile = Arc::new(Profile::new(&definition.name, build));
        let mut profiles = self.0.lock();
        if profiles.len() >= MAX_PROFILES {
            profiles.clear();
        }
        profiles.insert(key, Known { revision: definition.revision, profile: profile.clone() });
        profile
    }
}

// === impl Profile ===

impl Profile {
    fn new(name: &CollectionName, build: &Build) -> Profile {
        let layout = build.layout();
        let texts = build.schema.fields.iter().zip(&layout.columns).enumerate();
        let texts = texts.filter_map(|(position, (field, column))| match (field.kind, column) {
            (FieldKind::Text { weight, language }, Some(Column::Text(column))) => {
                Some(TextField { position, column: *column, weight, language })
            }
            _ => None,
        });
        Profile {
            place: Place {
                name: name.clone(),
                number: build.generation.number,
                placement: build.generation.placement.clone(),
            },
            scope: Scope::new(name),
            build: build.clone(),
            schema: build.schema.clone(),
            vocabulary: Vocabulary::new(&build.schema),
            texts: texts.collect(),
            layout,
        }
    }
}
