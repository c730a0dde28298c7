//! Definition of a collection: its schema, its generations, and its rebuild.

use std::time::Duration;

use keyplane_contracts::names::CollectionName;
use serde::{Deserialize, Serialize};

use super::layout::{Generation, Layout, Placement, Shape};
use super::schema::Schema;

/// Longest age of a definition that a call begins with.
pub const AGE: Duration = Duration::from_secs(1);

/// Collection as the store defines it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Name of the collection.
    #[serde(with = "name_as_text")]
    pub name: CollectionName,
    /// Number of the last change of the definition, unique within the tenant: the etag.
    pub revision: u64,
    /// Number of the last change of the generations, from the same sequence. Partitions reject writes of older epochs.
    pub epoch: u64,
    /// State of the collection.
    pub state: CollectionState,
    /// Generation that answers searches.
    pub live: Build,
    /// Generation that writes keep up to date besides the live one.
    pub second: Option<Second>,
    /// Generation whose documents are to be removed.
    pub retired: Option<Build>,
    /// Time since which nobody may begin to read the retired generation, in microseconds since 1970.
    #[serde(default)]
    pub retired_since: i64,
    /// Last rebuild; none before the first.
    pub rebuild: Option<Job>,
    /// Time of creation, in microseconds since 1970.
    pub created: i64,
    /// Time of the last change by a caller, in microseconds since 1970.
    pub updated: i64,
}

/// Generation of a collection, with the schema of its documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Number and place.
    pub generation: Generation,
    /// Schema of the documents.
    pub schema: Schema,
}

/// State of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CollectionState {
    /// Being created; nobody sees it yet.
    Creating,
    /// Open to reads and writes.
    Active,
    /// Being removed; its name can't be used yet.
    Deleting,
}

/// Generation besides the live one. Each write changes both in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Second {
    /// Generation that a rebuild fills.
    Next(Build),
    /// Generation before the last switch, kept for cursors and for a rollback.
    Previous {
        /// Generation.
        build: Build,
        /// End of its life, in milliseconds since 1970.
        until: i64,
    },
}

/// Rebuild of a collection into a new generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// State of the rebuild.
    pub state: JobState,
    /// Reason of the rebuild.
    pub cause: JobCause,
    /// Schema of the new generation.
    pub schema: Schema,
    /// New generation, chosen before anything of it exists, so that nothing of it can be left behind.
    #[serde(default)]
    pub planned: Option<Generation>,
    /// Documents that the new generation has from the backfill.
    pub copied: u64,
    /// Documents of the collection at the start; grows if more are found.
    pub total: u64,
    /// Reason of a failure; empty without one.
    pub error: String,
    /// Start, in microseconds since 1970.
    pub started: i64,
    /// End, in microseconds since 1970; 0 while the rebuild runs.
    pub finished: i64,
}

/// State of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Requested; the new generation does not exist yet.
    Pending,
    /// Documents are being copied.
    Copying,
    /// Copied: once every partition confirms that both generations are equal, the new one becomes live. Until then, a write
    /// that does not fit both is put off.
    Switching,
    /// Switched, and to be rolled back under the same condition.
    Returning,
    /// Switched: the new generation is live.
    Done,
    /// Given up: the old generation stays live.
    Failed,
    /// Switched, and rolled back by a caller.
    RolledBack,
}

/// Reason of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobCause {
    /// Change of the schema.
    Schema,
    /// Growth past the maximum of a shared index.
    Growth,
}

// === impl Definition ===

impl Definition {
    /// Generation that writes must change besides the live one.
    #[must_use]
    pub fn second(&self) -> Option<&Build> {
        match &self.second {
            Some(Second::Next(build) | Second::Previous { build, .. }) => Some(build),
            None => None,
        }
    }

    /// Generation before the last switch, if a rollback could still reach it at `now`, in milliseconds since 1970.
    #[must_use]
    pub fn previous(&self, now: i64) -> Option<&Build> {
        match &self.second {
            Some(Second::Previous { build, until }) if *until > now => Some(build),
            Some(Second::Previous { .. } | Second::Next(_)) | None => None,
        }
    }

    /// Generation with this number, if its documents are complete: the live or the previous one.
    #[must_use]
    pub fn complete(&self, number: u32) -> Option<&Build> {
        let previous = match &self.second {
            Some(Second::Previous { build, .. }) => Some(build),
            Some(Second::Next(_)) | None => None,
        };
        [Some(&self.live), previous].into_iter().flatten().find(|build| build.generation.number == number)
    }

    /// Generations of which something may exist: the live, the second, the retired and the planned one.
    pub fn builds(&self) -> impl Iterator<Item = Build> {
        let known = [Some(&self.live), self.second(), self.retired.as_ref()].map(Option::<&Build>::cloned);
        known.into_iter().chain([self.planned()]).flatten()
    }

    /// Reports whether a rebuild waits or runs.
    #[must_use]
    pub fn is_rebuilding(&self) -> bool {
        self.rebuild.as_ref().is_some_and(Job::is_running)
    }

    /// Place of generation `number`, which a rebuild makes. A shared index has two generations, between which a collection
    /// alternates. An index of one collection is made anew for each of its generations.
    #[must_use]
    pub fn place(&self, cause: JobCause, shape: Shape, number: u32) -> Placement {
        let live = &self.live.generation.placement;
        if cause == JobCause::Growth || !live.is_shared() {
            return Placement::own(&self.name, shape, number);
        }
        let shared = Placement::shared(shape, 0);
        if shared.index == live.index { Placement { generation: 1 - live.generation.min(1), ..shared } } else { shared }
    }

    /// Generation of a pending rebuild that has been chosen. It has no documents, but perhaps an index and a lexicon.
    #[must_use]
    pub fn planned(&self) -> Option<Build> {
        let job = self.rebuild.as_ref().filter(|job| job.state == JobState::Pending)?;
        Some(Build { generation: job.planned.clone()?, schema: job.schema.clone() })
    }

    /// Definition whose pending rebuild will make `generation`.
    #[must_use]
    pub fn planning(self, generation: Generation) -> Definition {
        let rebuild = self.rebuild.map(|job| Job { planned: Some(generation), ..job });
        Definition { rebuild, ..self }
    }

    /// Definition with the planned generation of a pending rebuild: from now on, writes change it too. The revision is the epoch.
    #[must_use]
    pub fn begun(self) -> Definition {
        let Some(next) = self.planned() else { return self };
        let rebuild = self.rebuild.map(|job| Job { state: JobState::Copying, planned: None, ..job });
        Definition { epoch: self.revision, second: Some(Second::Next(next)), rebuild, ..self }
    }

    /// Definition after the end of a rebuild without a switch. What it built is retired.
    #[must_use]
    pub fn cancelled(self, state: JobState, error: String, now: i64) -> Definition {
        let planned = self.planned();
        let rebuild = self.rebuild.map(|job| Job { state, error, finished: now, planned: None, ..job });
        match self.second {
            Some(Second::Next(next)) => {
                Definition { epoch: self.revision, second: None, rebuild, ..self }.retired(Some(next), now)
            }
            second @ (Some(Second::Previous { .. }) | None) => {
                let retired = planned.or_else(|| self.retired.clone());
                Definition { second, rebuild, ..self }.retired(retired, now)
            }
        }
    }

    /// Reports whether the generations are about to be swapped. A write that does not fit both must wait for the outcome: it
    /// would be lost in one of the two.
    #[must_use]
    pub fn is_swapping(&self) -> bool {
        self.rebuild.as_ref().is_some_and(|job| matches!(job.state, JobState::Switching | JobState::Returning))
    }

    /// Definition whose rebuild has copied its documents, and is about to switch. The revision is the epoch.
    #[must_use]
    pub fn filled(self, copied: u64, total: u64) -> Definition {
        let rebuild = self.rebuild.map(|job| Job { copied, total, ..job });
        Definition { rebuild, ..self }.swapping(JobState::Switching)
    }

    /// Definition whose generations are about to be swapped, in job state `state`. The revision is the epoch.
    #[must_use]
    pub fn swapping(self, state: JobState) -> Definition {
        let rebuild = self.rebuild.map(|job| Job { state, ..job });
        Definition { epoch: self.revision, rebuild, ..self }
    }

    /// Definition after the partitions' verdict on a swap: `rejected` is the reason against it. `None` if no swap is due.
    #[must_use]
    pub fn confirmed(self, rejected: Option<String>, now: i64, age: Duration) -> Option<Definition> {
        let returning = match self.rebuild.as_ref()?.state {
            JobState::Switching => false,
            JobState::Returning => true,
            JobState::Pending | JobState::Copying | JobState::Done | JobState::Failed | JobState::RolledBack => {
                return None;
            }
        };
        match (rejected, returning) {
            (None, false) => Some(self.swapped(now, age)?.concluded(JobState::Done, now)),
            (None, true) => Some(self.swapped(now, age)?.concluded(JobState::RolledBack, now)),
            (Some(reason), false) => Some(self.cancelled(JobState::Failed, reason, now)),
            (Some(_), true) => Some(self.swapping(JobState::Done)),
        }
    }

    /// Definition with the second generation in force; the live one becomes the previous one for `age`. `None` without a second
    /// one. `now` is in microseconds since 1970.
    #[must_use]
    pub fn swapped(self, now: i64, age: Duration) -> Option<Definition> {
        let until = now / 1_000 + i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 2);
        let Some(Second::Next(live) | Second::Previous { build: live, .. }) = self.second else { return None };
        let second = Some(Second::Previous { build: self.live, until });
        Some(Definition { epoch: self.revision, live, second, ..self })
    }

    /// Definition without the previous generation, which is retired.
    #[must_use]
    pub fn retiring(self, now: i64) -> Definition {
        match self.second {
            Some(Second::Previous { build, .. }) => {
                Definition { epoch: self.revision, second: None, ..self }.retired(Some(build), now)
            }
            second @ (Some(Second::Next(_)) | None) => Definition { second, ..self },
        }
    }

    fn retired(self, retired: Option<Build>, now: i64) -> Definition {
        Definition { retired, retired_since: now, ..self }
    }

    /// Definition whose last rebuild has ended in `state`.
    #[must_use]
    pub fn concluded(self, state: JobState, now: i64) -> Definition {
        let rebuild = self.rebuild.map(|job| Job { state, finished: now, ..job });
        Definition { rebuild, ..self }
    }
}

// === impl Build ===

impl Build {
    /// Columns of the schema.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::new(&self.schema)
    }
}

// === impl Job ===

impl Job {
    /// Job that waits to be begun, requested at `now`.
    #[must_use]
    pub fn new(cause: JobCause, schema: Schema, now: i64) -> Job {
        let state = JobState::Pending;
        Job {
            state,
            cause,
            schema,
            planned: None,
            copied: 0,
            total: 0,
            error: String::new(),
            started: now,
            finished: 0,
        }
    }

    /// Reports whether the rebuild waits or runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        match self.state {
            JobState::Pending | JobState::Copying | JobState::Switching | JobState::Returning => true,
            JobState::Done | JobState::Failed | JobState::RolledBack => false,
        }
    }
}

/// Form of a collection's name in the stored definition.
mod name_as_text {
    use keyplane_contracts::names::CollectionName;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(name: &CollectionName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CollectionName, D::Error> {
        let text = String::deserialize(deserializer)?;
        CollectionName::parse(&text, "name").map_err(serde::de::Error::custom)
    }
}
