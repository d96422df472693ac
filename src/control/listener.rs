//! Where shippers post: what the console and the settings tell people to configure.

use super::origin::Origin;

/// The gateways' listener, as far as the control plane knows it.
#[derive(Debug, Clone, Default)]
pub struct Listener {
    /// Its public addresses, one of each scheme at most. If there are any, the ports do not matter.
    pub public: Vec<Origin>,
    /// In plain HTTP.
    pub http_port: Option<u16>,
    /// Over TLS.
    pub https_port: Option<u16>,
}

impl Listener {
    /// Its address in plain HTTP and over TLS, for who reached the control plane at `origin`.
    pub(super) fn seen_from(&self, origin: Option<&Origin>) -> [Option<String>; 2] {
        [(false, self.http_port), (true, self.https_port)].map(|(secure, port)| {
            let found = match self.public.is_empty() {
                false => self.public.iter().find(|public| public.secure == secure).cloned(),
                true => origin?.beside(secure, port?),
            };
            found.map(|origin| origin.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_it_was_configured_or_beside_the_console() {
        let origin = |text: &str| Origin::parse(text).unwrap();
        let at = |public: &[&str], https_port| {
            let public = public.iter().map(|text| origin(text)).collect();
            let listener = Listener { public, http_port: Some(8070), https_port };
            listener.seen_from(Some(&origin("https://logs.example.com:8074")))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(at(&[], None), [some("http://logs.example.com:8070"), None]);
        let both = [some("http://logs.example.com:8070"), some("https://logs.example.com:8071")];
        assert_eq!(at(&[], Some(8071)), both);
        assert_eq!(at(&["https://in.example.com"], Some(8071)), [None, some("https://in.example.com")]);
    }
}
