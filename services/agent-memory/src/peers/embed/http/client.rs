//! HTTP client: TLS with the machine's root certificates, or plain HTTP as the URL says.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Pool, Error};
use hyper_util::rt::TokioExecutor;

/// Pool of connections to one endpoint.
#[derive(Debug)]
pub(super) enum Client {
    Plain(Pool<HttpConnector, Full<Bytes>>),
    Tls(Pool<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

// === impl Client ===

impl Client {
    /// Client for `uri`.
    ///
    /// # Errors
    ///
    /// Text that says what is wrong with the URL, or with this machine's certificates.
    pub(super) fn new(uri: &Uri) -> Result<Client, String> {
        let pool = Pool::builder(TokioExecutor::new());
        match uri.scheme_str() {
            _ if uri.host().is_none_or(str::is_empty) => Err("its URL has no host".to_owned()),
            Some("http") => Ok(Client::Plain(pool.build_http())),
            Some("https") => {
                let connector = HttpsConnectorBuilder::new().with_native_roots().map_err(|error| {
                    format!("this machine has no root certificates: {error}; install them, or set SSL_CERT_FILE")
                })?;
                Ok(Client::Tls(pool.build(connector.https_only().enable_all_versions().build())))
            }
            _ => Err("its URL must begin with http:// or https://".to_owned()),
        }
    }

    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        match self {
            Client::Plain(pool) => pool.request(request).await,
            Client::Tls(pool) => pool.request(request).await,
        }
    }
}
