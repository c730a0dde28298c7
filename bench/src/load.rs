//! Sessions that a run works on.

use futures::stream::{StreamExt as _, TryStreamExt as _, iter};
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use prost::Message as _;
use prost_types::FieldMask;
use serde_json::json;
use tonic::Code;
use tonic::transport::Channel;

use crate::Error;
use crate::raw::Place;

/// Tenant of every session.
pub(crate) const TENANT: &str = "bench";

/// Sessions that are made at the same time.
const AT_A_TIME: usize = 32;
/// Attempts at one of them, while the store does not answer in time.
const ATTEMPTS: u32 = 10;

/// Session by its full name and by its parts.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) name: String,
    user: String,
    session: String,
}

// === impl Made ===

impl Made {
    pub(crate) fn place(&self) -> Place<'_> {
        Place { tenant: TENANT, user: &self.user, session: &self.session }
    }

    /// Resource name for the user's watch.
    pub(crate) fn parent(&self) -> String {
        parent(&self.user)
    }
}

/// Makes one session for each of `count` users.
pub(crate) async fn make_sessions(channels: &[Channel], count: usize) -> Result<Vec<Made>, Error> {
    make_sessions_of(channels, (0..count).map(|number| format!("u-{number}"))).await
}

/// Makes a session for each of these users.
pub(crate) async fn make_sessions_of(
    channels: &[Channel],
    users: impl Iterator<Item = String>,
) -> Result<Vec<Made>, Error> {
    let make = |(number, user): (usize, String)| {
        let mut client = SessionServiceClient::new(channels[number % channels.len()].clone());
        async move {
            let mut attempt = 1;
            let session = loop {
                match client.create_session(creation(&user)).await {
                    Ok(made) => break made.into_inner(),
                    // A busy machine. If the session was made anyway, the user has another one.
                    Err(status) if status.code() == Code::Unavailable && attempt < ATTEMPTS => attempt += 1,
                    Err(status) => return Err(status.into()),
                }
            };
            let id = session.name.rsplit('/').next().unwrap_or_default().to_owned();
            Ok::<_, Error>(Made { name: session.name, user, session: id })
        }
    };
    iter(users.enumerate()).map(make).buffered(AT_A_TIME).try_collect().await
}

/// Login, as an identity provider would send it.
pub(crate) fn creation(user: &str) -> pb::CreateSessionRequest {
    pb::CreateSessionRequest { parent: parent(user), session: Some(sample()), ..pb::CreateSessionRequest::default() }
}

/// Route change: one field, by mask.
pub(crate) fn update(name: &str, last_path: String) -> pb::UpdateSessionRequest {
    let session = pb::Session { name: name.to_owned(), last_path: Some(last_path), ..pb::Session::default() };
    let update_mask = Some(FieldMask { paths: vec!["last_path".to_owned()] });
    pb::UpdateSessionRequest { session: Some(session), update_mask, ..pb::UpdateSessionRequest::default() }
}

/// Bytes of the sample as a message: what a caller sends at login.
pub(crate) fn sample_bytes() -> usize {
    sample().encoded_len()
}

fn parent(user: &str) -> String {
    format!("tenants/{TENANT}/users/{user}")
}

/// Sample as JSON.
pub(crate) fn sample_json() -> String {
    let pb::Session { company_id, last_path, attributes, device, .. } = sample();
    let pb::Device { user_agent, ip, label } = device.unwrap_or_default();
    let device = json!({"userAgent": user_agent, "ip": ip, "label": label});
    json!({"companyId": company_id, "lastPath": last_path, "attributes": attributes, "device": device}).to_string()
}

fn sample() -> pb::Session {
    let attributes = [("theme", "dark"), ("locale", "pt-PT"), ("plan", "enterprise"), ("home", "/dashboard")];
    pb::Session {
        company_id: Some("c-7".to_owned()),
        last_path: Some("/home".to_owned()),
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        device: Some(pb::Device {
            user_agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0"
                .to_owned(),
            ip: "203.0.113.7".to_owned(),
            label: "laptop".to_owned(),
        }),
        ..pb::Session::default()
    }
}
