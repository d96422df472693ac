//! Which parts of the program run, and which settings that takes.

use super::values::Values;
use crate::sync::Config;
use toml::Value;

/// Which parts of the program run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Both planes in one process.
    AllInOne,
    /// The control plane: the API and the stream.
    Control,
    /// The data plane: ingest, learning of tokens from control planes elsewhere, or from a file.
    Gateway,
}

impl Role {
    pub fn has_control(self) -> bool {
        self != Self::Gateway
    }

    pub fn has_gateway(self) -> bool {
        self != Self::Control
    }
}

impl Values {
    /// What one role needs, another must not have.
    pub(super) fn fits(&mut self, role: Role, sync: &Config) {
        let urls = self.value("sync.control_urls").and_then(Value::as_array);
        let (has_urls, has_file) = (urls.is_some_and(|urls| !urls.is_empty()), sync.tokens_file.is_some());
        let has = |this: &Self, key: &str| !this.text(key).is_empty();
        match role {
            Role::AllInOne => {
                for (key, is_set) in [
                    ("sync.control_urls", has_urls),
                    ("sync.tokens_file", has_file),
                    ("sync.credential", has(self, "sync.credential")),
                ] {
                    if is_set {
                        self.mistake(
                            key,
                            "is for `shipgate gateway`: this process has a control plane of its own",
                        );
                    }
                }
            }
            Role::Control => {
                if !has(self, "control.gateway_credential") {
                    self.mistake(
                        "control.gateway_credential",
                        "must be set: gateways prove themselves with it",
                    );
                }
            }
            Role::Gateway if has_urls == has_file => {
                let text = "must name a control plane, or sync.tokens_file a file: one of the two";
                self.mistake("sync.control_urls", text);
            }
            Role::Gateway => {
                if has_urls && !has(self, "sync.credential") {
                    self.mistake(
                        "sync.credential",
                        "must be set: it is control.gateway_credential of the control plane",
                    );
                }
            }
        }
    }
}
