//! Search: plans a request, runs the plan, and puts the result together.
//!
//! ```text
//! prepare   definition, cursor, filter, order, query text, lexicon            (no call in the usual case)
//! measure   sums (≤ 1 s old), sample (≤ 30 s old in use), estimates           (no call in the usual case)
//! plan      app/planner
//! find      the plan's calls to the index, sent together                      1 round trip, more after a wrong estimate
//! load      documents of the page; revision, if there is a cursor             1 round trip
//! ```
//!
//! Every call takes its share of the request's deadline. Results never depend on the age of a sample: it decides the plan alone.

mod counts;
mod fields;
mod measure;
mod order;
mod page;
mod prepare;
mod profile;
mod relevance;
mod run;
mod sift;
mod text;
mod trace;

use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use keyplane_contracts::names::CollectionName;
use tracing::Instrument as _;

use self::measure::Measure;
use self::profile::Profiles;
use self::run::{Call, Counted, Hits, Run};
use self::trace::{Meters, Trace};
use crate::app::collections::Definitions;
use crate::app::lexicons::Lexicons;
use crate::app::planner::{self, Costs, Counts, Plan};
use crate::app::samples::Samples;
use crate::domain::cursor::CursorKey;
use crate::domain::request::SearchRequest;
use crate::domain::result::{Found, SearchResult};
use crate::error::Error;
use crate::store::{Engine, Store};

/// Most plans that one search tries: each wrong estimate is corrected by the engine's count.
const PLANS: u32 = 3;

/// Parts that searches need.
pub struct SearchParts {
    /// Store.
    pub store: Store,
    /// Definitions of collections.
    pub definitions: Definitions,
    /// Lexicons of collections.
    pub lexicons: Lexicons,
    /// Key of cursors; instances that share it read each other's.
    pub cursor_key: CursorKey,
    /// Most candidates of a ranking.
    pub candidates: u32,
    /// Memory for samples and counters, in bytes.
    pub sample_bytes: usize,
}

/// Searches. Cheap to clone.
#[derive(Clone)]
pub struct Search {
    store: Store,
    definitions: Definitions,
    lexicons: Lexicons,
    samples: Samples,
    profiles: Profiles,
    cursor_key: CursorKey,
    candidates: u32,
    engine: Arc<OnceLock<Engine>>,
    meters: Meters,
}

// === impl Search ===

impl Search {
    /// Searches with these parts. Call after telemetry is set up.
    #[must_use]
    pub fn new(parts: SearchParts) -> Search {
        Search {
            samples: Samples::new(parts.store.clone(), parts.sample_bytes),
            store: parts.store,
            definitions: parts.definitions,
            lexicons: parts.lexicons,
            profiles: Profiles::default(),
            cursor_key: parts.cursor_key,
            candidates: parts.candidates,
            engine: Arc::default(),
            meters: Meters::new(),
        }
    }

    /// Searches a collection. Cancel safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// Violations of the request, all at once; a missing collection; an expired cursor; an error of the store.
    pub async fn search(&self, name: &CollectionName, request: &SearchRequest) -> Result<SearchResult, Error> {
        let known = self.definitions.get(name).await?.live.generation.number;
        let result = self.run(name, request).instrument(trace::span()).boxed().await;
        let may_be_gone = match &result {
            Err(Error::IndexNotReady { .. }) => true,
            Err(Error::Store(error)) => !error.retryable(),
            _ => false,
        };
        // A definition is up to a second old: the generation that it names may have been replaced, and dropped.
        if may_be_gone && self.definitions.reload(name).await?.live.generation.number != known {
            return self.run(name, request).instrument(trace::span()).boxed().await;
        }
        result
    }

    async fn run(&self, name: &CollectionName, request: &SearchRequest) -> Result<SearchResult, Error> {
        let (start, trace) = (Instant::now(), Trace::default());
        let prepared = self.prepare(name, request).await?;
        let (place, fresh) = (&prepared.profile.place, prepared.is_fresh || request.exact);
        let counters = async {
            match measure::is_for_counters(&prepared) {
                true => self.samples.counters(place, fresh).await.map(Some),
                false => Ok(None),
            }
        };
        let (figures, counters) = tokio::try_join!(self.samples.figures(place, fresh), counters)?;
        trace.add("prepare", start, 0, 0);
        let (figures, counters) = (&figures, counters.as_deref());
        let run = Run { search: self, request, prepared: &prepared, figures, counters, now: now(), trace: &trace };
        let (kind, hits, counted) = self.find(&run).boxed().await?;
        let page = run.page(&hits).await?;
        let candidates = hits.candidates;
        self.meters.record(kind, start, &trace, candidates.is_some_and(|candidates| candidates.capped));
        let all = hits.all.map(|count| Found { count, margin: 0 });
        Ok(SearchResult {
            hits: page.hits,
            found: run.within_totals(all.or(counted.found).unwrap_or_default()),
            facets: counted.facets,
            next_page_token: page.next,
            corpus_changed: page.changed,
            candidates,
            plan: request.explain.then(|| trace.plan()),
        })
    }

    /// Hits and counts, and the kind of the plan that found them.
    async fn find(&self, run: &Run<'_>) -> Result<(&'static str, Hits, Counted), Error> {
        let prepared = run.prepared;
        let is_hopeless = prepared.text.as_ref().is_some_and(|text| text.is_hopeless());
        if is_hopeless || prepared.clauses.all().is_never() && prepared.selected.is_empty() {
            let (counted, entries) = run.tally(&run.request.facets, Vec::new())?;
            return Ok(("nothing", run.choose(entries), counted));
        }
        let costs = Costs::of(self.engine().await?);
        let wish = measure::request(prepared, run.request, run.counters);
        let mut measure = run.measure(costs.direct_rows(0) / 2).await?;
        for _ in 0..PLANS {
            let plan = planner::plan(&measure.estimates, &wish, &costs);
            let is_direct =
                [plan.counts, plan.siblings].contains(&Counts::Direct) || plan.hits == planner::Hits::Direct;
            if !is_direct {
                let (hits, counted) = self.both(run, &plan, &measure).await?;
                return Ok((kind(&plan), hits, counted));
            }
            if let Some((hits, counted)) = self.direct(run, &plan, &mut measure).await? {
                return Ok(("direct", hits, counted));
            }
        }
        // The collection grows faster than it is read: what is planned for large ones fits any.
        let siblings = if wish.siblings { Counts::Sample(1.0) } else { Counts::Nothing };
        let hits = kind_of_large(run);
        let large = Plan { hits, counts: Counts::Sample(1.0), siblings, one_read: true, direct_limit: 0 };
        let (hits, counted) = self.both(run, &large, &measure).await?;
        Ok((kind(&large), hits, counted))
    }

    /// Hits and counts of a plan, from calls that are sent together.
    async fn both(&self, run: &Run<'_>, plan: &Plan, measure: &Measure) -> Result<(Hits, Counted), Error> {
        // Boxed to keep the future of every search small.
        tokio::try_join!(self.hits(run, plan, measure).boxed(), run.count(plan, measure).boxed())
    }

    async fn hits(&self, run: &Run<'_>, plan: &Plan, measure: &Measure) -> Result<Hits, Error> {
        match plan.hits {
            planner::Hits::Nothing | planner::Hits::Direct => Ok(Hits::default()),
            planner::Hits::Windows => run.windows(measure).await,
            planner::Hits::Tiers => run.tiers(measure).await,
        }
    }

    /// Fetches all matches and computes everything from them; none if there are more than planned.
    async fn direct(
        &self,
        run: &Run<'_>,
        plan: &Plan,
        measure: &mut Measure,
    ) -> Result<Option<(Hits, Counted)>, Error> {
        let of_siblings = plan.siblings == Counts::Direct;
        let clause = if of_siblings { measure.siblings.clone() } else { measure.clause.clone() };
        let call = Call {
            clause: &clause,
            words: run.words(),
            spread: None,
            is_ranked: run.prepared.is_ranked,
            limit: plan.direct_limit,
        };
        let (matches, others) = tokio::try_join!(run.find("direct", call), run.count(plan, measure).boxed())?;
        if matches.total > u64::from(plan.direct_limit) {
            measure.correct(matches.total, of_siblings);
            return Ok(None);
        }
        let facets = if of_siblings { &run.request.facets } else { &run.prepared.plain };
        let (mut counted, entries) = run.tally(facets, matches.rows)?;
        if !of_siblings {
            counted.facets = run.merge(counted.facets, others.facets);
        }
        if run.has_cuts() {
            return Ok(Some((run.tiers(measure).boxed().await?, counted)));
        }
        Ok(Some((run.choose(entries), counted)))
    }

    /// Engine behind the store, looked up once.
    async fn engine(&self) -> Result<Engine, Error> {
        if let Some(engine) = self.engine.get() {
            return Ok(*engine);
        }
        let engine = self.store.engine().await?;
        Ok(*self.engine.get_or_init(|| engine))
    }
}

/// Time now, in milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn kind(plan: &Plan) -> &'static str {
    match plan.hits {
        planner::Hits::Nothing => "counts",
        planner::Hits::Direct => "direct",
        planner::Hits::Windows => "windows",
        planner::Hits::Tiers => "tiers",
    }
}

fn kind_of_large(run: &Run<'_>) -> planner::Hits {
    match (run.request.page_size, run.prepared.is_ranked) {
        (0, _) => planner::Hits::Nothing,
        (_, true) => planner::Hits::Tiers,
        (_, false) => planner::Hits::Windows,
    }
}
