//! View of one watcher of a user.

use std::collections::HashMap;

/// Place in a user's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64, u64);

/// Watcher's view.
#[derive(Debug, Default)]
pub(in crate::soak) struct View {
    /// Id of the last event.
    last: Option<(Place, String)>,
    /// Version of each live session.
    versions: HashMap<String, i32>,
}

/// Event, but for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::soak) enum Change {
    Created,
    Updated,
    Ended,
}

// === impl View ===

impl View {
    /// Event id to resume after.
    pub(in crate::soak) fn after(&self) -> &str {
        self.last.as_ref().map_or("", |(_, id)| id)
    }

    /// Last reported version of a session.
    pub(in crate::soak) fn version(&self, name: &str) -> Option<i32> {
        self.versions.get(name).copied()
    }

    /// Sessions of the user, with their versions.
    pub(in crate::soak) fn snapshot(&mut self, id: &str, sessions: &[(String, i32)]) -> Result<(), String> {
        let place = self.advance(id, true);
        let older = sessions.iter().find(|(name, version)| self.version(name).is_some_and(|known| known > *version));
        let older = older.map(|(name, version)| {
            format!("a snapshot has {name} at version {version}, which was reported at {:?}", self.version(name))
        });
        self.versions = sessions.iter().cloned().collect();
        place.and_then(|()| older.map_or(Ok(()), Err))
    }

    /// Change of a session.
    pub(in crate::soak) fn change(&mut self, id: &str, change: Change, name: &str, version: i32) -> Result<(), String> {
        let place = self.advance(id, false);
        let known = self.version(name);
        let fits = match change {
            Change::Created => known.is_none(),
            Change::Updated => known == Some(version - 1),
            Change::Ended => known.is_some(),
        };
        match change {
            Change::Created | Change::Updated => self.versions.insert(name.to_owned(), version),
            Change::Ended => self.versions.remove(name),
        };
        place?;
        match fits {
            true => Ok(()),
            false => Err(format!("event {id}, {change:?} of {name} to version {version}, follows version {known:?}")),
        }
    }

    fn advance(&mut self, id: &str, may_stay: bool) -> Result<(), String> {
        let place = Place::parse(id).ok_or_else(|| format!("{id:?} is no id of an event"))?;
        let before = self.last.replace((place, id.to_owned()));
        match before {
            Some((last, text)) if place < last || place == last && !may_stay => {
                Err(format!("event {id} came after event {text}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

// === impl Place ===

impl Place {
    fn parse(id: &str) -> Option<Place> {
        let (millis, number) = id.split_once('-')?;
        Some(Place(millis.parse().ok()?, number.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let mut view = View::default();
        view.snapshot("5-0", &[("a".to_owned(), 3)]).unwrap();
        view
    }

    #[test]
    fn changes_come_in_order() {
        let mut view = view();
        view.change("5-1", Change::Updated, "a", 4).unwrap();
        view.change("6-0", Change::Created, "b", 1).unwrap();
        view.change("6-1", Change::Ended, "a", 0).unwrap();
        assert_eq!((view.version("a"), view.version("b"), view.after()), (None, Some(1), "6-1"));
        view.snapshot("6-1", &[("b".to_owned(), 1)]).unwrap();
    }

    #[test]
    fn a_doubled_event_is_seen() {
        let mut view = view();
        view.change("6-0", Change::Updated, "a", 4).unwrap();
        view.change("6-0", Change::Updated, "a", 4).unwrap_err();
        view.change("7-0", Change::Updated, "a", 4).unwrap_err();
    }

    #[test]
    fn a_lost_event_is_seen() {
        view().change("6-0", Change::Updated, "a", 5).unwrap_err();
        view().change("6-0", Change::Updated, "b", 2).unwrap_err();
        view().change("6-0", Change::Created, "a", 1).unwrap_err();
        view().change("6-0", Change::Ended, "b", 0).unwrap_err();
    }

    #[test]
    fn an_event_out_of_order_is_seen() {
        view().change("4-9", Change::Updated, "a", 4).unwrap_err();
        view().change("x", Change::Updated, "a", 4).unwrap_err();
        view().snapshot("4-0", &[("a".to_owned(), 3)]).unwrap_err();
        view().snapshot("6-0", &[("a".to_owned(), 2)]).unwrap_err();
    }
}
