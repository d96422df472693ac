//! What the program says when it has started.

use shipgate::control;
use shipgate::control::first_start::{Bootstrap, FirstStart};
use shipgate::control::origin::Origin;
use shipgate::domain::token::LinkToken;
use shipgate::gateway::listener;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// Where it listens, with ports as bound; of the two planes those that run here.
#[derive(Clone, Copy)]
pub struct Addresses {
    pub ingest: Option<listener::Addresses>,
    pub api: Option<control::Addresses>,
    pub ops: SocketAddr,
}

/// Where this machine reaches what listens on `address`.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}

/// Where a browser finds the console, and with this its set-up page.
pub fn console(public_url: Option<&Origin>, api: SocketAddr) -> String {
    public_url.map_or_else(|| format!("http://{}/", reachable(api)), |url| format!("{url}/"))
}

/// What makes the first user, or brings one back who is locked out.
pub fn setup_link(console: &str, token: &LinkToken) -> String {
    format!("{console}#/setup?token={}", token.expose())
}

/// At every start. Holds no secret.
pub fn every(addresses: Addresses, public_url: Option<&Origin>, data: &Path) -> String {
    let mut text = String::new();
    let mut say = |name: &str, scheme: &str, address: Option<SocketAddr>| {
        text += &address.map(|address| format!("{name:8}{scheme}://{address}\n")).unwrap_or_default();
    };
    say("ingest", "http", addresses.ingest.map(|ingest| ingest.http));
    say("ingest", "https", addresses.ingest.and_then(|ingest| ingest.https));
    say("api", "http", addresses.api.map(|api| api.http));
    say("api", "https", addresses.api.and_then(|api| api.https));
    say("ops", "http", Some(addresses.ops));
    if let Some(api) = addresses.api {
        text += &format!("console {}\n", console(public_url, api.http));
    }
    text + &format!("data    {}\n", data.display())
}

/// At the first: what was made, and what to do with it. Tokens that the configuration named are not repeated.
pub fn first(
    first: &FirstStart,
    named: &Bootstrap,
    addresses: Addresses,
    public_url: Option<&Origin>,
) -> String {
    let shipping_token = match named.shipping_token {
        None => first.shipping_token.expose(),
        Some(_) => "$SHIPGATE__BOOTSTRAP__SHIPPING_TOKEN",
    };
    let api_token = match named.api_token {
        None => first.api_token.expose(),
        Some(_) => "$SHIPGATE__BOOTSTRAP__API_TOKEN",
    };
    let (account, name, plan) = (first.account, &named.account_name, named.plan.name());
    let shown = |address: Option<SocketAddr>, elsewhere: &str| {
        address.map_or(elsewhere.to_owned(), |address| reachable(address).to_string())
    };
    let ingest = shown(addresses.ingest.map(|ingest| ingest.http), "GATEWAY:8070");
    let api = shown(addresses.api.map(|api| api.http), "CONTROL:8072");
    let console = addresses.api.map(|api| console(public_url, api.http));
    let link = setup_link(&console.unwrap_or_default(), &first.setup_token);
    let version = env!("CARGO_PKG_VERSION");
    format!(
        r#"Shipgate {version} made account {account} ({name}, plan {plan}).
Its tokens are shown this once; keep them where you keep passwords:

  shipping token  {shipping_token}
  API token       {api_token}

Open the console and become its first user, by this link, which works once:

  {link}

Ship a log:

  curl -i "http://{ingest}/?token={shipping_token}&type=demo" --data-binary '{{"message":"hello"}}'

List the tokens:

  curl -X POST "http://{api}/v1/log-shipping/tokens/search" -H "X-API-TOKEN: {api_token}" -H "Content-Type: application/json" -d '{{}}'

"#
    )
}
