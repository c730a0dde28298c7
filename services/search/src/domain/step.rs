//! Next step of a collection's maintenance.

use std::time::Duration;

use super::definition::{CollectionState, Definition, JobState, Second};

/// Age at which a creation counts as abandoned, in microseconds.
const ABANDONED: i64 = 60_000_000;
/// Time after which the documents of a retired generation are removed, in microseconds: twice the longest age of a definition,
/// since a call may have begun with one from before, and reads on.
const GRACE: i64 = 2_000_000;

/// Step of a collection's maintenance. Each ends with a change of the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Remove a collection whose creation was abandoned.
    Abandon,
    /// Remove a deleted collection.
    Remove,
    /// Remove the documents of the retired generation.
    Drop,
    /// Retire the previous generation: its time is over, or a rebuild needs its place.
    Retire,
    /// Choose the generation of the pending rebuild.
    Plan,
    /// Begin the pending rebuild: make its index and lexicon, and let writes change it.
    Begin,
    /// Fill the next generation.
    Fill,
    /// Swap the generations, if all partitions confirm it: the end of a rebuild, or of a rollback.
    Swap,
}

// === impl Step ===

impl Step {
    /// Step for `definition` at `now`, in microseconds since 1970; `None` if it needs none.
    #[must_use]
    pub fn next(definition: &Definition, now: i64) -> Option<Step> {
        match definition.state {
            CollectionState::Deleting => return Some(Step::Remove),
            CollectionState::Creating => return (now - definition.created > ABANDONED).then_some(Step::Abandon),
            CollectionState::Active => {}
        }
        if definition.is_swapping() {
            return Some(Step::Swap);
        }
        if definition.retired.is_some() {
            return Step::grace(definition, now).is_zero().then_some(Step::Drop);
        }
        let pending = definition.rebuild.as_ref().is_some_and(|job| job.state == JobState::Pending);
        match &definition.second {
            Some(Second::Next(_)) => Some(Step::Fill),
            Some(Second::Previous { until, .. }) => (pending || *until <= now / 1_000).then_some(Step::Retire),
            None if definition.planned().is_some() => Some(Step::Begin),
            None => pending.then_some(Step::Plan),
        }
    }

    /// Time until the documents of the retired generation may be removed; zero without one.
    #[must_use]
    pub fn grace(definition: &Definition, now: i64) -> Duration {
        let left = definition.retired.as_ref().map_or(0, |_| definition.retired_since + GRACE - now);
        Duration::from_micros(u64::try_from(left).unwrap_or(0))
    }

    /// Returns whether the step goes over all documents.
    #[must_use]
    pub fn is_long(self) -> bool {
        match self {
            Step::Remove | Step::Drop | Step::Fill => true,
            Step::Abandon | Step::Retire | Step::Plan | Step::Begin | Step::Swap => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use keyplane_contracts::names::CollectionName;

    use super::super::definition::{AGE, Build, Job, JobCause};
    use super::super::layout::{Generation, Placement, Shape};
    use super::super::schema::Schema;
    use super::*;

    fn build(number: u32) -> Build {
        let placement = Placement::shared(Shape::default(), number % 2);
        Build { generation: Generation { number, placement }, schema: Schema::default() }
    }

    fn definition() -> Definition {
        Definition {
            name: CollectionName::parse("tenants/t/collections/c", "name").expect("a name"),
            revision: 1,
            epoch: 1,
            state: CollectionState::Active,
            live: build(1),
            second: None,
            retired: None,
            retired_since: 0,
            rebuild: None,
            created: 0,
            updated: 0,
        }
    }

    #[test]
    fn rebuild_goes_through_its_steps() {
        let age = Duration::from_secs(600);
        let mut current = definition();
        assert_eq!(Step::next(&current, 0), None);
        current.rebuild = Some(Job::new(JobCause::Schema, Schema::default(), 0));
        assert_eq!(Step::next(&current, 0), Some(Step::Plan));
        current = current.planning(build(2).generation);
        assert_eq!(Step::next(&current, 0), Some(Step::Begin));
        current = Definition { revision: 2, ..current }.begun();
        assert_eq!((Step::next(&current, 0), current.epoch), (Some(Step::Fill), 2));
        current = Definition { revision: 3, ..current }.swapping(JobState::Switching);
        assert_eq!((Step::next(&current, 0), current.epoch, current.live.generation.number), (Some(Step::Swap), 3, 1));
        current = Definition { revision: 4, ..current }.confirmed(None, 0, age).expect("a swap is due");
        assert_eq!((Step::next(&current, 599_000_000), current.live.generation.number), (None, 2));
        assert_eq!(Step::next(&current, 600_000_000), Some(Step::Retire));
        current = Definition { revision: 5, ..current }.retiring(600_000_000);
        assert_eq!((Step::next(&current, 602_000_000), current.epoch), (Some(Step::Drop), 5));
    }

    #[test]
    fn rejected_swap_leaves_the_live_generation_and_its_epoch_behind() {
        let job = Some(Job::new(JobCause::Schema, Schema::default(), 0));
        let filled = Definition { rebuild: job, ..definition() }.planning(build(2).generation).begun();
        let age = Duration::from_secs(600);
        let reason = || Some("x".to_owned());
        let switching = Definition { revision: 3, ..filled }.swapping(JobState::Switching);
        let failed = Definition { revision: 4, ..switching.clone() }.confirmed(reason(), 9, age).expect("a verdict");
        let job = failed.rebuild.clone().expect("a job");
        assert_eq!((failed.live, failed.second, failed.retired, failed.epoch), (build(1), None, Some(build(2)), 4));
        assert_eq!((job.state, job.error.as_str()), (JobState::Failed, "x"));
        let switched = Definition { revision: 4, ..switching }.confirmed(None, 0, age).expect("a verdict");
        assert_eq!(switched.clone().confirmed(None, 0, age), None, "no swap is due");
        let returning = Definition { revision: 5, ..switched.clone() }.swapping(JobState::Returning);
        let kept = Definition { revision: 6, ..returning.clone() }.confirmed(reason(), 9, age).expect("a verdict");
        assert_eq!(
            (&kept.live, &kept.second, kept.epoch, Step::next(&kept, 0)),
            (&build(2), &switched.second, 6, None)
        );
        let returned = Definition { revision: 6, ..returning }.confirmed(None, 9, age).expect("a verdict");
        assert_eq!((returned.live, returned.rebuild.map(|job| job.state)), (build(1), Some(JobState::RolledBack)));
    }

    #[test]
    fn pending_rebuild_retires_the_previous_generation_first() {
        let pending = Some(Job::new(JobCause::Schema, Schema::default(), 0));
        let second = Some(Second::Previous { build: build(1), until: i64::MAX });
        let current = Definition { live: build(2), second, rebuild: pending, ..definition() };
        assert_eq!(Step::next(&current, 0), Some(Step::Retire));
        let retired = current.retiring(5);
        assert_eq!(Step::next(&retired, GRACE + 5), Some(Step::Drop));
        let dropped = Definition { retired: None, ..retired };
        assert_eq!(Step::next(&dropped, GRACE + 5), Some(Step::Plan));
    }

    #[test]
    fn retired_generation_stays_while_a_call_may_read_it() {
        let second = Some(Second::Previous { build: build(1), until: i64::MAX });
        let pending = Some(Job::new(JobCause::Schema, Schema::default(), 0));
        let retired = Definition { live: build(2), second, rebuild: pending, ..definition() }.retiring(7);
        assert_eq!(Step::next(&retired, 7), None, "neither a drop, nor a rebuild into the same place");
        assert_eq!(Step::grace(&retired, 7), 2 * AGE);
        assert_eq!(
            (Step::next(&retired, GRACE + 6), Step::grace(&retired, GRACE + 6)),
            (None, Duration::from_micros(1))
        );
        assert_eq!(
            (Step::next(&retired, GRACE + 7), Step::grace(&retired, GRACE + 7)),
            (Some(Step::Drop), Duration::ZERO)
        );
    }

    #[test]
    fn cancelled_rebuild_leaves_the_live_generation() {
        let job = Some(Job::new(JobCause::Schema, Schema::default(), 0));
        let planned = Definition { rebuild: job, ..definition() }.planning(build(2).generation);
        let early = planned.clone().cancelled(JobState::RolledBack, String::new(), 5);
        assert_eq!((early.retired, early.epoch), (Some(build(2)), 1), "it may have an index");
        let current = planned.begun();
        let cancelled = Definition { revision: 9, ..current }.cancelled(JobState::Failed, "x".to_owned(), 5);
        assert_eq!((cancelled.epoch, cancelled.live.generation.number, &cancelled.second), (9, 1, &None));
        assert_eq!(Step::next(&cancelled, 5 + GRACE), Some(Step::Drop));
    }

    #[test]
    fn deletion_and_abandoned_creation_come_first() {
        let deleting = Definition { state: CollectionState::Deleting, retired: Some(build(3)), ..definition() };
        assert_eq!(Step::next(&deleting, 0), Some(Step::Remove));
        let creating = Definition { state: CollectionState::Creating, ..definition() };
        assert_eq!(Step::next(&creating, ABANDONED), None);
        assert_eq!(Step::next(&creating, ABANDONED + 1), Some(Step::Abandon));
    }
}
