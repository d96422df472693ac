//! Values taken out of the settings, by key.

use crate::domain::terms::Network;
use crate::domain::token::GatewayCredential;
use crate::tls;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use toml::{Table, Value};

/// Takes values out of settings whose keys and types are known to fit, noting every value that does not.
pub(super) struct Values {
    pub settings: Table,
    pub mistakes: BTreeSet<String>,
}

impl Values {
    pub(super) fn mistake(&mut self, key: &str, text: &str) {
        self.mistakes.insert(format!("{key}: {text}"));
    }

    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        let mut steps = key.split('.');
        let first = self.settings.get(steps.next()?);
        steps.try_fold(first?, |value, step| value.get(step))
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.value(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub(super) fn number<N: TryFrom<i64> + Default>(&mut self, key: &str, min: i64) -> N {
        let value = self.value(key).and_then(Value::as_integer).unwrap_or_default();
        if value < min {
            self.mistake(key, &format!("must be at least {min}"));
        }
        N::try_from(value).unwrap_or_else(|_| {
            if value >= min {
                self.mistake(key, "is too large");
            }
            N::default()
        })
    }

    pub(super) fn level(&mut self, key: &str) -> i32 {
        let level = self.number(key, -7);
        if level > 19 {
            self.mistake(key, "must be at most 19");
        }
        level
    }

    pub(super) fn duration(&mut self, key: &str, min_ms: i64) -> Duration {
        Duration::from_millis(self.number(key, min_ms))
    }

    pub(super) fn address(&mut self, key: &str) -> SocketAddr {
        let text = self.text(key);
        text.parse().unwrap_or_else(|_| {
            self.mistake(key, &format!("must be an address and a port such as 127.0.0.1:8070, not {text:?}"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    /// Networks apart by commas or spaces.
    pub(super) fn networks(&mut self, key: &str) -> Vec<Network> {
        let text = self.text(key);
        let texts = text.split([',', ' ']).filter(|text| !text.is_empty());
        texts
            .filter_map(|text| {
                Network::parse(text).map_err(|error| self.mistake(key, &format!("{text:?}: {error}"))).ok()
            })
            .collect()
    }

    /// One of several words. The first stands in for a mistake.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        let text = self.text(key);
        let chosen = choices.iter().find(|(word, _)| *word == text).or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.mistake(key, &format!("must be {}", words.join(" or ")));
            choices.first()
        });
        chosen.expect("there is a choice").1
    }

    /// An empty text stands for none.
    pub(super) fn secret<T, E: fmt::Display>(
        &mut self,
        key: &str,
        text: &str,
        parse: fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        if text.is_empty() {
            return None;
        }
        if text.contains("CHANGE-ME") {
            self.mistake(key, "is the example's, which everybody knows: put a secret of your own there");
            return None;
        }
        parse(text).map_err(|error| self.mistake(key, &error.to_string())).ok()
    }

    pub(super) fn credential(&mut self, key: &str) -> Option<GatewayCredential> {
        let text = self.text(key);
        self.secret(key, &text, GatewayCredential::parse)
    }

    pub(super) fn urls(&mut self, key: &str) -> Vec<hyper::Uri> {
        let values = self.value(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut urls = Vec::new();
        for value in values {
            let value = value.as_str().unwrap_or_default();
            let url = value.parse::<hyper::Uri>().ok();
            let is_whole = |url: &hyper::Uri| {
                matches!(url.scheme_str(), Some("http" | "https"))
                    && url.authority().is_some()
                    && url.path() == "/"
            };
            match url.filter(is_whole) {
                Some(url) => urls.push(url),
                None => self.mistake(
                    key,
                    &format!("must hold addresses such as https://control:8074, not {value:?}"),
                ),
            }
        }
        urls
    }

    pub(super) fn tls(&mut self, section: &str, protocols: &'static [&'static str]) -> Option<tls::Config> {
        let [https, certificate, private_key, reload_interval_ms] =
            ["https", "certificate", "private_key", "reload_interval_ms"]
                .map(|key| format!("{section}.{key}"));
        let (https, reload_interval) = (self.address(&https), self.duration(&reload_interval_ms, 1));
        let (certificate_file, key_file) = (self.text(&certificate), self.text(&private_key));
        match (certificate_file.is_empty(), key_file.is_empty()) {
            (true, true) => return None,
            (true, false) => self.mistake(&certificate, &format!("missing beside {private_key}")),
            (false, true) => self.mistake(&private_key, &format!("missing beside {certificate}")),
            (false, false) => {}
        }
        let (certificate, private_key) = (certificate_file.into(), key_file.into());
        Some(tls::Config { https, certificate, private_key, reload_interval, protocols })
    }
}
