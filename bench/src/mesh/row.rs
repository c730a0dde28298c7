//! Rows: the calls, and what bounds each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_valkey::Valkey;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::closed;
use crate::load::{self, Made, TENANT};
use crate::pb::echo_service_client::EchoServiceClient;
use crate::pb::{EchoGetRequest, EchoPatchRequest, EchoRequest};
use crate::raw::Raw;

/// Row of the report: a kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    Echo,
    RawGet,
    EchoGet,
    Get,
    RawPatch,
    EchoPatch,
    Patch,
    Touch,
    Create,
}

/// Clients of a worker.
#[derive(Clone)]
pub(crate) struct Target {
    echo: Vec<EchoServiceClient<Channel>>,
    session: Vec<SessionServiceClient<Channel>>,
    raw: Raw,
    sessions: Arc<[Made]>,
    /// Makes each path new: a patch that changes nothing has less to do.
    paths: Arc<AtomicU64>,
}

// === impl Row ===

impl Row {
    /// Rows in the order of the report.
    pub(crate) const ALL: [Row; 9] = [
        Row::Echo,
        Row::RawGet,
        Row::EchoGet,
        Row::Get,
        Row::RawPatch,
        Row::EchoPatch,
        Row::Patch,
        Row::Touch,
        Row::Create,
    ];
}

impl closed::Row for Row {
    fn label(self) -> &'static str {
        match self {
            Row::Echo => "echo",
            Row::RawGet => "raw HGETALL",
            Row::EchoGet => "echo + HGETALL",
            Row::Get => "session Get",
            Row::RawPatch => "raw patch script",
            Row::EchoPatch => "echo + patch script",
            Row::Patch => "session Update",
            Row::Touch => "session Touch",
            Row::Create => "session Create",
        }
    }

    fn limit(self) -> Option<Row> {
        match self {
            Row::Echo | Row::RawGet | Row::RawPatch => None,
            Row::EchoGet | Row::EchoPatch | Row::Touch | Row::Create => Some(Row::Echo),
            Row::Get => Some(Row::EchoGet),
            Row::Patch => Some(Row::EchoPatch),
        }
    }
}

// === impl Target ===

impl Target {
    pub(crate) fn new(echo: &[Channel], session: &[Channel], store: Valkey, sessions: Vec<Made>) -> Target {
        Target {
            echo: echo.iter().cloned().map(EchoServiceClient::new).collect(),
            session: session.iter().cloned().map(SessionServiceClient::new).collect(),
            raw: Raw::new(store),
            sessions: sessions.into(),
            paths: Arc::default(),
        }
    }
}

impl closed::Caller for Target {
    type Row = Row;

    async fn call(&mut self, row: Row, worker: usize, number: usize) -> Result<u64, String> {
        let made = &self.sessions[number % self.sessions.len()];
        let place = made.place();
        let connection = worker % self.session.len();
        let (echo, session) = (&mut self.echo[connection], &mut self.session[connection]);
        let path = || format!("/tasks/{}", self.paths.fetch_add(1, Ordering::Relaxed));
        let user = || format!("c-{}", number % self.sessions.len());
        match row {
            Row::Echo => size(echo.echo(EchoRequest::default()).await),
            Row::RawGet => raw_size(self.raw.get(place).await),
            Row::EchoGet => size(
                echo.echo_get(EchoGetRequest {
                    tenant: TENANT.to_owned(),
                    user: place.user.to_owned(),
                    session: place.session.to_owned(),
                })
                .await,
            ),
            Row::Get => size(session.get_session(pb::GetSessionRequest { name: made.name.clone() }).await),
            Row::RawPatch => raw_size(self.raw.patch(place, &path()).await),
            Row::EchoPatch => size(
                echo.echo_patch(EchoPatchRequest {
                    tenant: TENANT.to_owned(),
                    user: place.user.to_owned(),
                    session: place.session.to_owned(),
                    last_path: path(),
                })
                .await,
            ),
            Row::Patch => size(session.update_session(load::update(&made.name, path())).await),
            Row::Touch => size(session.touch_session(pb::TouchSessionRequest { name: made.name.clone() }).await),
            Row::Create => size(session.create_session(load::creation(&user())).await),
        }
    }
}

fn size<T: Message>(result: Result<Response<T>, Status>) -> Result<u64, String> {
    result.map(|response| response.get_ref().encoded_len() as u64).map_err(|status| status.to_string())
}

fn raw_size(result: Result<Vec<u8>, keyplane_valkey::Error>) -> Result<u64, String> {
    result.map(|bytes| bytes.len() as u64).map_err(|error| error.to_string())
}
