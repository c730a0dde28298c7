//! Calls of the search service: collections, imports, searches.

use std::time::Instant;

use futures::StreamExt as _;
use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::search::v1::field::Type;
use keyplane_contracts::search::v1::search_service_client::SearchServiceClient;
use tonic::transport::Channel;

use super::corpus::{Doc, Question, Tenant};
use crate::Error;

/// Collection of each tenant.
const COLLECTION: &str = "documents";
/// Documents above which a collection moves into an index of its own: the service's default.
const OWN_INDEX: u64 = 5_000;
/// Documents of one message of an import.
const BATCH: u64 = 200;

/// Client of the service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Service(SearchServiceClient<Channel>);

// === impl Service ===

impl Service {
    pub(super) fn new(channel: Channel) -> Service {
        Service(SearchServiceClient::new(channel).max_decoding_message_size(16 << 20))
    }

    pub(super) async fn create(&mut self, tenant: Tenant) -> Result<(), Error> {
        let field = |name: &str, kind: Type, sortable: bool, facet: bool, weight: f32| pb::Field {
            name: name.to_owned(),
            r#type: kind.into(),
            sortable,
            facet,
            weight,
            ..pb::Field::default()
        };
        let fields = vec![
            field("title", Type::Text, false, false, 2.0),
            field("body", Type::Text, false, false, 1.0),
            field("section", Type::Tag, false, true, 0.0),
            field("status", Type::Tag, false, true, 0.0),
            field("labels", Type::Tags, false, true, 0.0),
            field("amount", Type::Integer, true, true, 0.0),
            field("updated", Type::Timestamp, true, false, 0.0),
        ];
        let request = pb::CreateCollectionRequest {
            parent: format!("tenants/{}", tenant.name),
            collection_id: COLLECTION.to_owned(),
            collection: Some(pb::Collection { fields, ..pb::Collection::default() }),
        };
        self.0.create_collection(request).await?;
        Ok(())
    }

    /// Imports all documents of a tenant over one stream; returns the number of errors.
    pub(super) async fn import(&mut self, tenant: Tenant) -> Result<u64, Error> {
        let messages = (0..tenant.documents).step_by(usize::try_from(BATCH)?).map(move |first| {
            let numbers = first..(first + BATCH).min(tenant.documents);
            let document = |doc: Doc| pb::Document {
                document_id: doc.id.clone(),
                fields: Some(doc.fields()),
                ..pb::Document::default()
            };
            pb::ImportDocumentsRequest {
                parent: parent(tenant),
                documents: numbers.map(|number| document(Doc::new(tenant, number))).collect(),
            }
        });
        let mut results = self.0.import_documents(futures::stream::iter(messages)).await?.into_inner();
        let (mut failed, mut count) = (0, 0);
        while let Some(message) = results.next().await {
            let message = message?;
            count += message.results.len() as u64;
            failed += message.results.iter().filter(|result| result.error.is_some()).count() as u64;
        }
        match count == tenant.documents {
            true => Ok(failed),
            false => Err(format!("{count} of {} documents have a result", tenant.documents).into()),
        }
    }

    /// Waits until a large collection stands in an index of its own.
    pub(super) async fn settled(&mut self, tenant: Tenant) -> Result<(), Error> {
        let until = Instant::now() + super::PATIENCE;
        loop {
            let request = pb::GetCollectionRequest { name: parent(tenant) };
            let collection = self.0.get_collection(request).await?.into_inner();
            let state = collection.rebuild.map(|rebuild| rebuild.state());
            if tenant.documents <= OWN_INDEX || state == Some(pb::rebuild::State::Succeeded) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("the rebuild of {} does not end", tenant.name).into());
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Runs the complex query of `question`.
    pub(super) async fn ask(
        &mut self,
        tenant: Tenant,
        question: &Question,
        how: How,
    ) -> Result<pb::SearchDocumentsResponse, Error> {
        let facet =
            |field: &str| pb::FacetOptions { field: field.to_owned(), max_values: 10, ..pb::FacetOptions::default() };
        let request = pb::SearchDocumentsRequest {
            parent: parent(tenant),
            query: question.words.clone(),
            prefix: pb::search_documents_request::Prefix::None.into(),
            filter: question.filter(),
            order_by: "updated desc".to_owned(),
            page_size: 20,
            highlight: Some(pb::HighlightOptions { snippet_words: 12, ..pb::HighlightOptions::default() }),
            facets: ["status", "section", "labels"].map(facet).into(),
            exact: how == How::Exact,
            explain: how == How::Explained,
            ..pb::SearchDocumentsRequest::default()
        };
        Ok(self.0.search_documents(request).await?.into_inner())
    }
}

/// Treatment of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Plain,
    Exact,
    Explained,
}

fn parent(tenant: Tenant) -> String {
    format!("tenants/{}/collections/{COLLECTION}", tenant.name)
}
