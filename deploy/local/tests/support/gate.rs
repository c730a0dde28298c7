//! Gateway with the shipped configuration, and a [`Peer`] in place of every service.

use std::net::SocketAddr;
use std::path::Path;

use keyplane_engine::{Envoy, Toolbox};
use keyplane_gateway::InProcessGuard;
use keyplane_local::{Gateway, Issuer, Mesh, Options};
use reqwest::{Client, Response};
use tonic::transport::{Channel, Endpoint};

use super::peer::{Answer, Peer};

/// Path of the sessions of [`Gate::token`]'s user.
pub const SESSIONS: &str = "/v1/tenants/acme/users/u-42/sessions";

/// Gateway, its issuer, and the stand-in behind it.
pub struct Gate {
    pub url: String,
    pub peer: Peer,
    pub issuer: Issuer,
    pub envoy: Envoy,
    pub guard: InProcessGuard,
}

// === impl Gate ===

impl Gate {
    pub fn start(name: &str) -> Gate {
        Gate::start_with(name, |config| config)
    }

    /// Starts a gateway with a changed configuration.
    pub fn start_with(name: &str, change: impl FnOnce(String) -> String) -> Gate {
        Gate::start_before(name, &[Peer::start(Answer::Pass)], change)
    }

    /// Starts a gateway in front of several instances of each service. [`Gate::peer`] is the first.
    pub fn start_before(name: &str, peers: &[Peer], change: impl FnOnce(String) -> String) -> Gate {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let (issuer, guard) = (Issuer::create(&folder).unwrap(), InProcessGuard::start().unwrap());
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

    /// Sends a GET as a page's script of an allowed origin.
    pub async fn get(&self, path: &str, client: &Client) -> Response {
        let request = client.get(format!("{}{path}", self.url)).header("origin", "http://localhost:4200");
        request.send().await.unwrap()
    }

    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url.clone()).unwrap().connect_lazy()
    }

    /// Returns whether a request reached a service.
    pub fn passed(&self) -> bool {
        !self.peer.take_others().is_empty()
    }
}

/// Starts another gateway in front of the services of `mesh`; returns it with its URL.
pub fn before(mesh: &Mesh, name: &str, change: impl FnOnce(String) -> String) -> ((Envoy, InProcessGuard), String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let guard = InProcessGuard::start().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = |name| (name, mesh.endpoints().service(name).grpc.parse().unwrap());
    let gateway = Gateway {
        listen: any,
        admin: any,
        services: ["session", "auth-revocation", "rate-limiting", "search"].map(address).into(),
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

/// Copies `lines` lines of commented configuration, from the line `start`, with the indentation `pad`.
pub fn commented(config: &str, start: &str, lines: usize, pad: &str) -> String {
    let text = |line: &str| line.trim_start().strip_prefix("#   ").map(str::to_owned);
    let comment = config.lines().filter_map(text).skip_while(|line| line.trim_start() != start).take(lines);
    comment.map(|line| format!("{pad}  {line}\n")).collect()
}
