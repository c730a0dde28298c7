//! Page of hits: documents loaded, projected and marked, and the cursor of the next page.

use std::time::Instant;

use keyplane_contracts::names::Id;

use super::run::{Hits, Run};
use super::sift::{Entry, Sift};
use crate::domain::cursor::{Cursor, Position};
use crate::domain::highlight::{Escape, Highlighter, Style};
use crate::domain::packed::Packed;
use crate::domain::result::{Highlight, Hit};
use crate::domain::{Stored, Value};
use crate::error::Error;
use crate::store::Loaded;

/// Most bytes of a page: a message of 4 MiB holds it with all else. One hit is returned however large it is.
const PAGE_BYTES: usize = 2 << 20;

/// Page of hits.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Hits in order.
    pub(super) hits: Vec<Hit>,
    /// Cursor of the next page; empty on the last.
    pub(super) next: String,
    /// True if documents changed since the first page.
    pub(super) changed: bool,
}

// === impl Run ===

impl Run<'_> {
    /// Loads the page, and reads meanwhile whether the collection changed.
    pub(super) async fn page(&self, hits: &Hits) -> Result<Page, Error> {
        let (page, has_changed) = tokio::try_join!(self.hits_of_page(hits), self.has_changed())?;
        // A change after the revision was read shows in the hits, if it concerns them.
        let changed = self.prepared.cursor.is_some() && (page.changed || has_changed);
        Ok(Page { changed, ..page })
    }

    /// Loads the hits. Documents that were deleted, expired or left the filter since they were found are skipped, and later
    /// hits take their place; a page is short if too many did.
    async fn hits_of_page(&self, hits: &Hits) -> Result<Page, Error> {
        let size = usize::try_from(self.request.page_size).unwrap_or(usize::MAX);
        let mut sift = self.sift();
        let highlighter = self.prepared.text.as_ref().map(|text| Highlighter::new(text.lists()));
        let (mut page, mut next, mut bytes) = (Page::default(), 0, 0);
        'page: while page.hits.len() < size && next < hits.entries.len() {
            let batch = &hits.entries[next..hits.entries.len().min(next + size - page.hits.len())];
            for (entry, loaded) in batch.iter().zip(self.load(batch).await?) {
                page.changed |= loaded.as_ref().is_none_or(|loaded| loaded.stored.revision != entry.row.revision);
                let Some(loaded) = loaded.filter(|loaded| self.is_current(entry, loaded)) else {
                    next += 1;
                    continue;
                };
                let hit = self.hit(entry, loaded.stored, highlighter.as_ref(), &mut sift);
                bytes += size_of_hit(&hit);
                if bytes > PAGE_BYTES && !page.hits.is_empty() {
                    break 'page;
                }
                next += 1;
                page.hits.push(hit);
            }
        }
        let has_more = next < hits.entries.len() || (size > 0 && hits.entries.len() >= self.wanted());
        if let Some(last) = hits.entries.get(next.wrapping_sub(1)).filter(|_| has_more) {
            page.next = self.token(last, hits);
        }
        Ok(page)
    }

    /// Returns whether documents changed between the cursor's first page and now.
    async fn has_changed(&self) -> Result<bool, Error> {
        let Some(cursor) = &self.prepared.cursor else { return Ok(false) };
        Ok(self.search.store.revision(&self.prepared.profile.place.name).await? != cursor.revision)
    }

    async fn load(&self, entries: &[Entry]) -> Result<Vec<Option<Loaded>>, Error> {
        let start = Instant::now();
        let ids = entries.iter().map(|entry| Id::parse(&entry.row.id, "id"));
        let ids: Vec<Id> =
            ids.collect::<Result<_, _>>().map_err(|_| Error::Corrupt("a document's id breaks its rule"))?;
        let place = &self.prepared.profile.place;
        let loaded = self.search.store.load(&place.name, &self.prepared.profile.build, &ids).await?;
        self.trace.add("load", start, entries.len() as u64, loaded.iter().flatten().count() as u64);
        Ok(loaded)
    }

    /// Returns whether a loaded document still is what was found: unchanged, or passing the filter after its change.
    fn is_current(&self, entry: &Entry, loaded: &Loaded) -> bool {
        let is_alive = loaded.stored.document.expires.is_none_or(|expires| expires > self.now);
        let is_same = loaded.stored.revision == entry.row.revision;
        let passes = || Packed::read(&loaded.packed).is_ok_and(|values| self.prepared.filter.matches(&values));
        is_alive && (is_same || passes())
    }

    fn hit(&self, entry: &Entry, mut stored: Stored, highlighter: Option<&Highlighter>, sift: &mut Sift<'_>) -> Hit {
        let highlights = highlighter.map_or_else(Vec::new, |highlighter| self.marks(&stored, highlighter));
        if !self.request.fields.is_empty() {
            stored.document.fields.retain(|name, _| self.request.fields.contains(name));
        }
        let terms = if self.request.explain { sift.explain(entry) } else { Vec::new() };
        Hit { document: stored, score: entry.score, highlights, terms }
    }

    fn marks(&self, stored: &Stored, highlighter: &Highlighter) -> Vec<Highlight> {
        let Some(request) = &self.request.highlight else { return Vec::new() };
        let style = Style {
            before: &request.before,
            after: &request.after,
            snippet_words: usize::try_from(request.snippet_words).unwrap_or(usize::MAX),
            escape: if request.escape_html { Escape::Html } else { Escape::None },
        };
        let mark = |field: &super::profile::TextField| {
            let name = &self.prepared.profile.schema.fields.get(field.position)?.name;
            let Some(Value::Text(text)) = stored.document.fields.get(name) else { return None };
            let marked = highlighter.mark(text, field.language, &style)?;
            Some(Highlight { field: name.clone(), text: marked.text, snippet: marked.snippet })
        };
        self.prepared.marked.iter().filter_map(mark).collect()
    }

    fn token(&self, last: &Entry, hits: &Hits) -> String {
        let (spread, id) = (last.spread, last.row.id.clone());
        let position = if self.prepared.is_ranked {
            Position::Score { score: last.score, now: self.reference(), cuts: hits.cuts.clone(), spread, id }
        } else {
            let values = self.prepared.order.iter().zip(&last.tuple).map(|(field, key)| field.unsigned(*key)).collect();
            Position::Fields { values, spread, id }
        };
        let first = self.prepared.cursor.as_ref().map(|cursor| cursor.revision);
        let revision = first.unwrap_or(self.figures.revision);
        let cursor = Cursor { generation: self.prepared.profile.place.number, revision, position };
        cursor.encode(&self.search.cursor_key, self.prepared.fingerprint)
    }
}

/// Bytes of a hit's texts.
fn size_of_hit(hit: &Hit) -> usize {
    let values = hit.document.document.fields.iter().map(|(name, value)| name.as_str().len() + size_of_value(value));
    let marks = hit.highlights.iter().map(|mark| mark.text.len());
    let terms = hit.terms.iter().map(|term| term.name.len() + term.detail.len());
    values.chain(marks).chain(terms).sum()
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Tags(tags) => tags.iter().map(|tag| tag.len() + 4).sum(),
        Value::Integer(_) | Value::Decimal(_) | Value::Timestamp(_) | Value::Boolean(_) => 24,
    }
}
