//! The search service's use cases over a store of their own: its planner chooses the candidates of the ranking.

use std::time::Duration;

use keyplane_contracts::names::{CollectionName, Id};
use keyplane_engine::{Toolbox, Valkey as Server};
use keyplane_search::app::collections::{Collections, Definitions, Limits};
use keyplane_search::app::documents::{DocumentLimits, Documents};
use keyplane_search::app::lexicons::Lexicons;
use keyplane_search::app::search::{Search, SearchParts};
use keyplane_search::domain::cursor::CursorKey;
use keyplane_search::domain::request::SearchRequest;
use keyplane_search::domain::{Field, FieldKind, FieldName, RawDocument, Schema};
use keyplane_search::store::Store;
use keyplane_valkey::{App, Settings, Valkey};

use super::HITS;
use super::data::{self, Data};
use crate::Error;
use crate::rig::APP;

/// Longest time until the store answers.
const PATIENCE: Duration = Duration::from_secs(30);
/// Documents of one batch.
const BATCH: usize = 500;
/// Service's default of `KEYPLANE_SEARCH_CANDIDATES`.
const CANDIDATES: u32 = 300;
/// Memory for lexicons, and for samples.
const MEMORY: usize = 64 << 20;
/// Bounds that no data set reaches.
const AMPLE: u64 = 1 << 40;

/// Use cases over one store.
struct Service {
    collections: Collections,
    documents: Documents,
    search: Search,
}

/// First hits of every query.
pub(super) fn answer(data: &Data) -> Result<Vec<Vec<String>>, Error> {
    let server = Server::builder(&Toolbox::find()).modules(true).start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(search(data, &server.url()))
}

async fn search(data: &Data, url: &str) -> Result<Vec<Vec<String>>, Error> {
    let service = Service::start(url).await?;
    let name = CollectionName::parse(&format!("tenants/bench/collections/{}", data.set.name), "name")
        .map_err(|violation| violation.to_string())?;
    let freshness = service.fill(data, &name).await?;
    let mut answers = Vec::with_capacity(data.queries.len());
    for query in &data.queries {
        let request = SearchRequest {
            query: query.query.clone(),
            page_size: u32::try_from(HITS)?,
            freshness: freshness.clone(),
            ..SearchRequest::default()
        };
        let result = service.search.search(&name, &request).await?;
        answers.push(result.hits.iter().map(|hit| hit.document.document.id.as_str().to_owned()).collect());
    }
    Ok(answers)
}

// === impl Service ===

impl Service {
    async fn start(url: &str) -> Result<Service, Error> {
        let valkey = Valkey::connect(&Settings::new(url), App::new(APP)?)?;
        valkey.wait_ready(PATIENCE).await?;
        let store = Store::new(valkey);
        let definitions = Definitions::new(store.clone());
        let limits = Limits { collections: AMPLE, indexes: AMPLE, rollback_age: PATIENCE };
        let parts = SearchParts {
            store: store.clone(),
            definitions: definitions.clone(),
            lexicons: Lexicons::new(store.clone(), MEMORY),
            cursor_key: CursorKey::new(b"bench"),
            candidates: CANDIDATES,
            sample_bytes: MEMORY,
        };
        Ok(Service {
            collections: Collections::new(store.clone(), definitions.clone(), limits),
            documents: Documents::new(store, definitions, DocumentLimits { documents: AMPLE, bytes: AMPLE }),
            search: Search::new(parts),
        })
    }

    /// Writes the documents. Returns the freshness token of the last batch.
    async fn fill(&self, data: &Data, name: &CollectionName) -> Result<String, Error> {
        let fields = data.set.fields.iter().map(field).collect::<Result<_, _>>()?;
        self.collections.create(name, Schema { fields, ..Schema::default() }).await?;
        let mut freshness = String::new();
        for chunk in data.documents.chunks(BATCH) {
            let documents = chunk.iter().map(|document| raw(data, document)).collect::<Result<_, _>>()?;
            let batch = self.documents.upsert(name, documents).await?;
            batch.results.into_iter().collect::<Result<Vec<_>, _>>()?;
            freshness = batch.freshness;
        }
        Ok(freshness)
    }
}

fn field(field: &data::Field) -> Result<Field, Error> {
    let name = FieldName::new(field.name).ok_or("a field has another form of name")?;
    let kind = FieldKind::Text { weight: field.weight, language: field.language };
    Ok(Field { name, kind, sortable: false, facet: false })
}

/// Document with its texts.
fn raw(data: &Data, document: &data::Document) -> Result<RawDocument, Error> {
    let texts = data.set.fields.iter().map(|field| (field.name, document.text(field.name)));
    let texts = texts.filter(|(_, text)| !text.is_empty());
    Ok(RawDocument {
        id: Id::parse(&document.id, "id").map_err(|violation| violation.to_string())?,
        fields: texts.map(|(name, text)| (name.to_owned(), text.into())).collect(),
        version: None,
        expires: None,
        at: "document".to_owned(),
    })
}
