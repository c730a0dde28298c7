//! Memories that are scored.

use std::collections::BTreeSet;

use futures::future::try_join_all;

use super::Run;
use crate::domain::rank::Corpus;
use crate::domain::{Owner, Session};
use crate::error::Error;
use crate::store::{Directory, Matching, RecordName, space_hash};

/// Nearest vectors that a large owner gives, and matches of words.
const CANDIDATES: u32 = 200;
/// Vectors that are asked for: 10 % more, since some are expired or not admitted.
const ASKED: u32 = CANDIDATES + CANDIDATES / 10;
/// Neighbours of a candidate on each side.
const REACH: u32 = 2;

/// Memories that are scored, and the frequencies of the question's terms.
pub(super) struct Gathered {
    pub sessions: Vec<Session>,
    pub corpus: Corpus,
    /// True if every memory of the scope is among them.
    pub whole: bool,
}

/// Memories of one owner.
struct Part {
    sessions: Vec<Session>,
    /// Counters of a large owner, of which only candidates were read.
    counters: Option<Counters>,
}

struct Counters {
    items: u64,
    words: u64,
    frequencies: Vec<u64>,
}

// === impl Gathered ===

impl Gathered {
    /// Number of items.
    pub(super) fn items(&self) -> usize {
        self.sessions.iter().map(|session| session.items.len()).sum()
    }
}

// === impl Run ===

impl Run<'_> {
    /// Reads the memories of the user and, if the request says so, those that all users share.
    pub(super) async fn gather(&self) -> Result<Gathered, Error> {
        let owner = &self.request.scope.owner;
        let shared = Owner { tenant: owner.tenant.clone(), user: None };
        let mut owners = vec![owner];
        if self.request.shared && owner.user.is_some() {
            owners.push(&shared);
        }
        let parts = try_join_all(owners.into_iter().map(|owner| self.part(owner))).await?;
        Ok(self.join(parts))
    }

    async fn part(&self, owner: &Owner) -> Result<Part, Error> {
        let directory = self.store.directory(owner).await?;
        let records = self.records(&directory);
        // A session is small enough to read, whatever its owner has.
        if !directory.large || self.request.scope.session.is_some() {
            let sessions = self.store.records(owner, &records).await?;
            return Ok(Part { sessions: self.admitted(sessions), counters: None });
        }
        let (places, frequencies) = self.candidates(owner).await?;
        let sessions = self.store.around(owner, &places, REACH).await?;
        let counters = Counters { items: directory.items, words: directory.words, frequencies };
        Ok(Part { sessions: self.admitted(sessions), counters: Some(counters) })
    }

    /// Records of the request's session, or all.
    fn records(&self, directory: &Directory) -> Vec<RecordName> {
        let is_asked = |name: &&RecordName| match (&self.request.scope.session, name) {
            (None, _) => true,
            (Some(session), RecordName::Session(name)) => session.as_str() == name.as_str(),
            (Some(_), RecordName::Number(_)) => false,
        };
        directory.records.keys().filter(is_asked).cloned().collect()
    }

    /// Places of a large owner's candidates, and the frequencies of the question's terms.
    async fn candidates(&self, owner: &Owner) -> Result<(Vec<(RecordName, u32)>, Vec<u64>), Error> {
        let nearest = async {
            match (self.space, &self.question.vector) {
                (Some(space), Some(vector)) => self.store.nearest(owner, space, vector, ASKED).await,
                (None, _) | (_, None) => Ok(Vec::new()),
            }
        };
        let matching = self.store.matching(owner, &self.question.terms, CANDIDATES as usize);
        let (nearest, Matching { frequencies, places }) = tokio::try_join!(nearest, matching)?;
        let all: BTreeSet<(RecordName, u32)> = nearest.into_iter().chain(places).collect();
        Ok((all.into_iter().collect(), frequencies))
    }

    /// Leaves out items that the request does not admit, and vectors of other spaces.
    fn admitted(&self, mut sessions: Vec<Session>) -> Vec<Session> {
        let space = self.space.map(|space| space_hash(&space.id));
        for session in &mut sessions {
            session.items.retain(|item| self.admission.admits_item(item));
            for item in session.items.iter_mut().filter(|item| Some(item.space) != space) {
                (item.vector, item.sketch) = (None, None);
            }
        }
        sessions
    }

    /// Joins the owners' memories, with the frequencies of their whole scopes.
    fn join(&self, parts: Vec<Part>) -> Gathered {
        let whole = parts.iter().all(|part| part.counters.is_none());
        let (mut sessions, mut counted, mut counters) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            match part.counters {
                None => counted.extend(part.sessions),
                Some(of) => {
                    counters.push(of);
                    sessions.extend(part.sessions);
                }
            }
        }
        let mut corpus = Corpus::count(&self.question, &counted);
        counters.iter().for_each(|of| corpus.add(of.items, of.words, &of.frequencies));
        sessions.extend(counted);
        if !whole {
            corpus.count_pieces(&self.question, &sessions);
        }
        Gathered { sessions, corpus, whole }
    }
}
