//! Real Envoy.

use std::io::{Read, Write};
use std::net::TcpStream;

use keyplane_engine::{Envoy, Toolbox};

const CONFIG: &str = r#"
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
    - name: front
      address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: front
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                        - match: { prefix: / }
                          direct_response: { status: 200, body: { inline_string: hello } }
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#;

#[test]
fn envoy_serves_its_configuration() {
    let toolbox = Toolbox::find();
    Envoy::validate(&toolbox, CONFIG).unwrap();
    let envoy = Envoy::start(&toolbox, CONFIG).unwrap();
    let mut stream = TcpStream::connect(envoy.listener("front").unwrap()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("hello"), "{response}");
    assert!(envoy.admin_get("/stats?filter=front").unwrap().contains("http.front.downstream_rq_2xx"));
    assert!(envoy.listener("back").unwrap_err().to_string().contains("front::127.0.0.1"));
    envoy.stop().unwrap();
}

#[test]
fn bad_configuration_is_rejected_with_envoys_output() {
    let toolbox = Toolbox::find();
    let bad = CONFIG.replace("stat_prefix", "stat_prefixx");
    let refused = Envoy::validate(&toolbox, &bad).unwrap_err().to_string();
    assert!(refused.contains("stat_prefixx"), "{refused}");
    let failed = Envoy::start(&toolbox, &bad).unwrap_err().to_string();
    assert!(failed.contains("stat_prefixx"), "{failed}");
}
