//! Whole service, in this process, on ports of its own.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

use std::time::Duration;

use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::search::v1::field::{Language, Type};
use keyplane_contracts::search::v1::search_service_client::SearchServiceClient;
use keyplane_search::{Config, SERVICE};
use keyplane_server::Running;
use keyplane_server::config::{self, Env};
pub use keyplane_testkit::{details, violated};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;
use tonic::Status;
use tonic::transport::Channel;

pub const TENANT: &str = "tenants/acme";
pub const COMPANIES: &str = "tenants/acme/collections/companies";
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Service {
    pub running: Running,
    pub client: SearchServiceClient<Channel>,
}

/// Starts the service on the store at `url`, with `settings`, and waits until it is ready.
pub async fn start(url: &str, settings: &[(&str, &str)]) -> Service {
    let env = Env::from_map(keyplane_testkit::settings(&keyplane_testkit::app(), url, settings));
    let (server, config) = config::read(env, &SERVICE, Config::read).expect("the settings of the test");
    let running = keyplane_search::start(server, config).await.expect("the service starts");
    let client = SearchServiceClient::new(keyplane_testkit::channel(running.grpc_addr()));
    let service = Service { running, client };
    keyplane_testkit::ready(service.running.admin_addr()).await;
    service
}

/// Starts the service on the engine that the tests of this binary share.
pub async fn shared(settings: &[(&str, &str)]) -> Service {
    start(&keyplane_testkit::search_engine().url(), settings).await
}

/// Starts the service, and creates the collection of the examples.
pub async fn with_companies(settings: &[(&str, &str)]) -> Service {
    let mut service = shared(settings).await;
    service.create(companies()).await.expect("the collection of the examples");
    service
}

/// Schema of the examples.
pub fn companies() -> pb::Collection {
    let fields = vec![
        pb::Field { weight: 2.0, sortable: true, ..field("name", Type::Text) },
        pb::Field { language: Language::English.into(), ..field("description", Type::Text) },
        pb::Field { facet: true, sortable: true, ..field("country", Type::Tag) },
        pb::Field { facet: true, ..field("industries", Type::Tags) },
        pb::Field { facet: true, sortable: true, ..field("employees", Type::Integer) },
        pb::Field { sortable: true, ..field("revenue", Type::Decimal) },
        pb::Field { sortable: true, ..field("founded", Type::Timestamp) },
        pb::Field { facet: true, ..field("listed", Type::Boolean) },
        field("extra", Type::Stored),
    ];
    pb::Collection { fields, ..pb::Collection::default() }
}

pub fn field(name: &str, kind: Type) -> pb::Field {
    pb::Field { name: name.to_owned(), r#type: kind.into(), ..pb::Field::default() }
}

/// Document of a batch, with the values of a JSON object.
pub fn document(id: &str, fields: Json) -> pb::Document {
    pb::Document { document_id: id.to_owned(), fields: Some(fields_of(fields)), ..pb::Document::default() }
}

pub fn fields_of(fields: Json) -> Struct {
    let Json::Object(fields) = fields else { panic!("an object") };
    Struct { fields: fields.into_iter().map(|(name, value)| (name, value_of(value))).collect() }
}

fn value_of(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(boolean) => Kind::BoolValue(boolean),
        Json::Number(number) => Kind::NumberValue(number.as_f64().expect("a number")),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.into_iter().map(value_of).collect() }),
        object @ Json::Object(_) => Kind::StructValue(fields_of(object)),
    };
    Value { kind: Some(kind) }
}

/// Ids of the hits, in their order.
pub fn ids(response: &pb::SearchDocumentsResponse) -> Vec<&str> {
    response.hits.iter().map(|hit| hit.document.as_ref().expect("a document").document_id.as_str()).collect()
}

// === impl Service ===

impl Service {
    pub async fn create(&mut self, collection: pb::Collection) -> Result<pb::Collection, Status> {
        let request = pb::CreateCollectionRequest {
            parent: TENANT.to_owned(),
            collection_id: "companies".to_owned(),
            collection: Some(collection),
        };
        self.client.create_collection(request).await.map(tonic::Response::into_inner)
    }

    pub async fn upsert(&mut self, document: pb::Document) -> Result<pb::WriteDocumentResponse, Status> {
        let name = format!("{COMPANIES}/documents/{}", document.document_id);
        let request = pb::UpsertDocumentRequest { document: Some(pb::Document { name, ..document }) };
        self.client.upsert_document(request).await.map(tonic::Response::into_inner)
    }

    pub async fn batch(&mut self, documents: Vec<pb::Document>) -> Result<pb::BatchUpsertDocumentsResponse, Status> {
        let request = pb::BatchUpsertDocumentsRequest { parent: COMPANIES.to_owned(), documents };
        self.client.batch_upsert_documents(request).await.map(tonic::Response::into_inner)
    }

    pub async fn get(&mut self, id: &str) -> Result<pb::Document, Status> {
        let request = pb::GetDocumentRequest { name: format!("{COMPANIES}/documents/{id}") };
        self.client.get_document(request).await.map(tonic::Response::into_inner)
    }

    /// Searches the collection of the examples.
    pub async fn search(&mut self, request: pb::SearchDocumentsRequest) -> Result<pb::SearchDocumentsResponse, Status> {
        let request = pb::SearchDocumentsRequest { parent: COMPANIES.to_owned(), ..request };
        self.client.search_documents(request).await.map(tonic::Response::into_inner)
    }
}
