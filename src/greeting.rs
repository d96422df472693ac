//! What the program says when it has started.

use shipgate::control::first_start::{Bootstrap, FirstStart};
use shipgate::gateway::listener;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// Where it listens, with ports as bound.
#[derive(Clone, Copy)]
pub struct Addresses {
    pub ingest: listener::Addresses,
    pub api: SocketAddr,
    pub ops: SocketAddr,
}

/// Where this machine reaches what listens on `address`.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}

/// At every start. Holds no secret.
pub fn every(addresses: Addresses, data: &Path) -> String {
    let Addresses { ingest, api, ops } = addresses;
    let https = ingest.https.map(|https| format!("ingest  https://{https}\n")).unwrap_or_default();
    let (http, data) = (ingest.http, data.display());
    format!("ingest  http://{http}\n{https}api     http://{api}\nops     http://{ops}\ndata    {data}\n")
}

/// At the first: what was made, and what to do with it. Tokens that the configuration named are not repeated.
pub fn first(first: &FirstStart, named: &Bootstrap, addresses: Addresses) -> String {
    let shipping_token = match named.shipping_token {
        None => first.shipping_token.expose(),
        Some(_) => "$SHIPGATE__BOOTSTRAP__SHIPPING_TOKEN",
    };
    let api_token = match named.api_token {
        None => first.api_token.expose(),
        Some(_) => "$SHIPGATE__BOOTSTRAP__API_TOKEN",
    };
    let (account, name, plan) = (first.account, &named.account_name, named.plan.name());
    let (ingest, api) = (reachable(addresses.ingest.http), reachable(addresses.api));
    let version = env!("CARGO_PKG_VERSION");
    format!(
        r#"Shipgate {version} made account {account} ({name}, plan {plan}).
Its tokens are shown this once; keep them where you keep passwords:

  shipping token  {shipping_token}
  API token       {api_token}

Ship a log:

  curl -i "http://{ingest}/?token={shipping_token}&type=demo" --data-binary '{{"message":"hello"}}'

List the tokens:

  curl -X POST "http://{api}/v1/log-shipping/tokens/search" -H "X-API-TOKEN: {api_token}" -H "Content-Type: application/json" -d '{{}}'

"#
    )
}
