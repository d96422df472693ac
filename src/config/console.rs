//! What the console needs to know of the outside: how it is reached, who may show it, and where shippers post.

use super::values::Values;
use crate::control::listener::Listener;
use crate::control::origin::Origin;
use crate::gateway;
use crate::store::sessions::SessionLimits;

impl Values {
    /// As configured, or on the gateway's ports of whatever host the control plane is reached by.
    pub(super) fn listener(&mut self, gateway: &gateway::Config) -> Listener {
        let public = self.origins("control.listener_url");
        let twice =
            public.iter().any(|one| public.iter().filter(|other| other.secure == one.secure).count() > 1);
        if twice {
            self.mistake("control.listener_url", "must name one http:// and one https:// address at most");
        }
        let https_port = gateway.tls.as_ref().map(|tls| tls.https.port());
        Listener { public, http_port: Some(gateway.http.port()), https_port }
    }

    pub(super) fn public_url(&mut self) -> Option<Origin> {
        let text = self.text("control.public_url");
        self.secret("control.public_url", &text, Origin::parse)
    }

    /// Addresses of sites, apart by commas or spaces.
    pub(super) fn origins(&mut self, key: &str) -> Vec<Origin> {
        let text = self.text(key);
        let texts = text.split([',', ' ']).filter(|text| !text.is_empty());
        texts
            .filter_map(|text| {
                Origin::parse(text).map_err(|error| self.mistake(key, &format!("{text:?} {error}"))).ok()
            })
            .collect()
    }

    pub(super) fn sessions(&mut self) -> SessionLimits {
        SessionLimits {
            idle_ms: self.number("control.session_idle_ms_max", 1_000),
            age_ms_max: self.number("control.session_age_ms_max", 1_000),
        }
    }
}
