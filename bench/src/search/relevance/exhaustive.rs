//! The search service's ranking of every document that matches, in this process: no store, no plan, no cap on candidates.

use std::collections::{BTreeSet, HashMap};

use keyplane_search::domain::Language;
use keyplane_search::domain::analysis::{Analyzer, distinct_terms, index_terms};
use keyplane_search::domain::lexicon::{Lexicon, LogId};
use keyplane_search::domain::query::{Rules, Vocabulary, parse};
use keyplane_search::domain::rank::{Candidate, Expanded, RankRules, Ranker, Variant, by_relevance, expand};
use keyplane_search::domain::request::PrefixMode;

use super::HITS;
use super::data::{Data, Query};
use crate::Error;

/// Documents in memory.
struct Index<'a> {
    data: &'a Data,
    /// Term streams of each document's fields.
    streams: Vec<Vec<String>>,
    /// Documents with each term, ascending.
    postings: HashMap<String, Vec<usize>>,
    lexicon: Lexicon,
    weights: Vec<f32>,
    languages: Vec<Language>,
}

/// First hits of every query.
pub(super) fn answer(data: &Data) -> Result<Vec<Vec<String>>, Error> {
    let index = Index::new(data);
    data.queries.iter().map(|query| index.search(query)).collect()
}

// === impl Index ===

impl<'a> Index<'a> {
    fn new(data: &'a Data) -> Index<'a> {
        let fields = data.set.fields;
        let languages: Vec<Language> = fields.iter().map(|field| field.language).collect();
        let analyzers: Vec<Analyzer> = languages.iter().map(|language| Analyzer::new(*language)).collect();
        let streams: Vec<Vec<String>> = data
            .documents
            .iter()
            .map(|document| {
                let texts = fields.iter().zip(&analyzers);
                texts.map(|(field, analyzer)| index_terms(&analyzer.analyze(document.text(field.name)))).collect()
            })
            .collect();
        let mut postings: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, streams) in streams.iter().enumerate() {
            for term in distinct_terms(streams.iter().map(String::as_str)) {
                postings.entry(term.to_owned()).or_default().push(at);
            }
        }
        let terms = postings.iter().map(|(term, documents)| (term.clone(), documents.len() as u32));
        let lexicon = Lexicon::build(terms.collect(), LogId::default());
        let weights = fields.iter().map(|field| field.weight).collect();
        Index { data, streams, postings, lexicon, weights, languages }
    }

    fn search(&self, query: &Query) -> Result<Vec<String>, Error> {
        let vocabulary = Vocabulary::default();
        let rules =
            Rules { vocabulary: &vocabulary, languages: &self.languages, prefix: PrefixMode::Last, exact_words: false };
        let parsed = parse(&query.query, &rules)?;
        let expanded = expand(&parsed, &self.lexicon);
        let documents = self.data.documents.len() as u64;
        let rules = RankRules { documents, weights: &self.weights, rank_by: None, now: 0 };
        let mut ranker = Ranker::new(&expanded, rules);
        let mut hits: Vec<(f64, &str)> = Vec::new();
        for at in self.candidates(&expanded) {
            let texts: Vec<(u8, &str)> = (0..).zip(self.streams[at].iter().map(String::as_str)).collect();
            if let Some(score) = ranker.score(&Candidate { texts: &texts, rank_by: None }) {
                hits.push((score, &self.data.documents[at].id));
            }
        }
        hits.sort_unstable_by(|one, other| by_relevance((one.0, 0, one.1), (other.0, 0, other.1)));
        Ok(hits.into_iter().take(HITS).map(|(_, id)| id.to_owned()).collect())
    }

    /// Documents with a variant of every word.
    fn candidates(&self, query: &Expanded) -> BTreeSet<usize> {
        let with = |variant: &Variant| {
            let lists = variant.terms.iter().map(|term| self.postings.get(term).map_or(&[][..], Vec::as_slice));
            lists.min_by_key(|list| list.len()).unwrap_or_default().iter().copied()
        };
        let mut words = query.words.iter().map(|word| word.variants.iter().flat_map(with).collect::<BTreeSet<_>>());
        let first = words.next().unwrap_or_default();
        words.fold(first, |all, word| all.intersection(&word).copied().collect())
    }
}
