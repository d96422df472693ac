//! The object store's part of the settings.

use super::values::Values;
use crate::logs::objects::{Config, Credentials, Location};

const ACCESS_KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

/// `None`: sealed files stay on the local disk. `will_run`: what is needed to run may not be missing.
pub(super) fn read(values: &mut Values, environment: &[(String, String)], will_run: bool) -> Option<Config> {
    let key = |name| format!("logs.object_store.{name}");
    let [url, endpoint, region, ca_file] =
        ["url", "endpoint", "region", "ca_file"].map(|name| values.text(&key(name)));
    let local_bytes_max = values.number(&key("local_bytes_max"), 0);
    if !endpoint.is_empty() && !is_endpoint(&endpoint) {
        values.mistake(
            &key("endpoint"),
            "must be the address of a server that speaks S3, such as https://store:8333",
        );
    }
    if url.is_empty() {
        return None;
    }
    let location = match Location::parse(&url) {
        Ok(location) => location,
        Err(error) => {
            values.mistake(&key("url"), &error.to_string());
            return None;
        }
    };
    let credentials = Credentials::of(environment);
    if let Location::S3 { .. } = location {
        let missing: Vec<_> = ACCESS_KEYS.into_iter().filter(|name| !credentials.has(name)).collect();
        // Amazon's own machines get credentials in other ways; other stores know none but these.
        if missing.len() == 1 || will_run && !missing.is_empty() && !endpoint.is_empty() {
            let missing = missing.join(" and ");
            values.mistake(&key("url"), &format!("needs credentials: set the environment's {missing}"));
        }
    }
    Some(Config {
        location,
        endpoint: Some(endpoint).filter(|endpoint| !endpoint.is_empty()),
        region,
        ca_file: Some(ca_file).filter(|file| !file.is_empty()).map(Into::into),
        credentials,
        local_bytes_max,
    })
}

fn is_endpoint(text: &str) -> bool {
    text.parse::<hyper::Uri>().is_ok_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && url.query().is_none()
    })
}
