//! A gateway with the shipped configuration, and a [`Peer`] in place of everything that stands behind it.

use std::net::SocketAddr;
use std::path::Path;

use keyplane_engine::{Envoy, Toolbox};
use keyplane_gateway::Here;
use keyplane_local::{Gateway, Issuer, Mesh, Options};
use reqwest::{Client, Response};
use tonic::transport::{Channel, Endpoint};

use super::peer::{Answer, Peer};

/// The sessions of the user whom [`Gate::token`] is of.
pub const SESSIONS: &str = "/v1/tenants/acme/users/u-42/sessions";

/// A gateway, an issuer that it trusts, and what stands behind it.
pub struct Gate {
    pub url: String,
    pub peer: Peer,
    pub issuer: Issuer,
    pub envoy: Envoy,
    pub guard: Here,
}

// === impl Gate ===

impl Gate {
    pub fn start(name: &str) -> Gate {
        Gate::start_with(name, |config| config)
    }

    /// With another configuration than the shipped one.
    pub fn start_with(name: &str, change: impl FnOnce(String) -> String) -> Gate {
        Gate::start_before(name, &[Peer::start(Answer::Pass)], change)
    }

    /// Starts a gateway before several instances of each service. [`Gate::peer`] is the first.
    pub fn start_before(name: &str, peers: &[Peer], change: impl FnOnce(String) -> String) -> Gate {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let (issuer, guard) = (Issuer::create(&folder).unwrap(), Here::start().unwrap());
        let gateway = Gateway {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            services: peers.iter().flat_map(Peer::services).collect(),
            folder,
            otlp_endpoint: None,
            cors_origins: Options::LOCAL_ORIGINS.to_owned(),
            keys: issuer.keys().to_owned(),
            guard: guard.socket(),
        };
        let envoy = Envoy::start(&Toolbox::find(), &change(gateway.prepare().unwrap())).unwrap();
        let url = format!("http://{}", envoy.listener("gateway").unwrap());
        Gate { url, peer: peers[0].clone(), issuer, envoy, guard }
    }

    pub fn token(&self) -> String {
        super::token(&self.issuer, "u-42")
    }

    /// GET of a page's script, which is allowed to read the answer.
    pub async fn get(&self, path: &str, client: &Client) -> Response {
        let request = client.get(format!("{}{path}", self.url)).header("origin", "http://localhost:4200");
        request.send().await.unwrap()
    }

    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url.clone()).unwrap().connect_lazy()
    }

    /// Whether a request got as far as a service.
    pub fn passed(&self) -> bool {
        !self.peer.take_others().is_empty()
    }
}

/// Another gateway in front of the services of `mesh`, and its address.
pub fn before(mesh: &Mesh, name: &str, change: impl FnOnce(String) -> String) -> ((Envoy, Here), String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let guard = Here::start().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = |name| (name, mesh.endpoints().service(name).grpc.parse().unwrap());
    let gateway = Gateway {
        listen: any,
        admin: any,
        services: ["session", "auth-revocation", "rate-limiting"].map(address).into(),
        folder,
        otlp_endpoint: None,
        cors_origins: Options::LOCAL_ORIGINS.to_owned(),
        keys: mesh.issuer().keys().to_owned(),
        guard: guard.socket(),
    };
    let envoy = Envoy::start(&Toolbox::find(), &change(gateway.prepare().unwrap())).unwrap();
    let url = format!("http://{}", envoy.listener("gateway").unwrap());
    ((envoy, guard), url)
}

/// So many lines of the configuration's comments, from the first that reads `start`, as a reader would take them over.
pub fn commented(config: &str, start: &str, lines: usize, pad: &str) -> String {
    let text = |line: &str| line.trim_start().strip_prefix("#   ").map(str::to_owned);
    let comment = config.lines().filter_map(text).skip_while(|line| line.trim_start() != start).take(lines);
    comment.map(|line| format!("{pad}  {line}\n")).collect()
}
