//! The tokens of a run: named by the command line, or made for it and removed afterwards.

use super::LoadError;
use super::api::{Api, Created};
use super::id::RunId;
use super::link::Link;
use super::options::Options;
use super::target::Target;
use crate::shutdown::Shutdown;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HOST;
use hyper::{Method, Request};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// For new tokens to reach the gateway.
const ARRIVAL_TRIES: u32 = 200;
const ARRIVAL_PAUSE: Duration = Duration::from_millis(50);

/// Tokens, and what has to be removed when the run is over.
pub(super) struct Tokens {
    /// As they stand in a URL. Not empty.
    pub values: Arc<Vec<String>>,
    made: Option<(Api, Vec<Created>)>,
}

impl Tokens {
    /// Collects the tokens that the options name, or makes those they ask for and waits until they work.
    pub(super) async fn provide(options: &Options, target: &Target, run: RunId) -> Result<Self, LoadError> {
        let stage = Shutdown::new();
        let prefix = format!("load-{run}");
        let (mut values, mut made) = (vec![], None);
        if let Some(count) = options.create_tokens {
            let mut api = Api::new(options, &stage.tasks()).await?;
            let created = api.create_tokens(count, &prefix).await?;
            values.extend(created.iter().map(|token| token.value.clone()));
            made = Some((api, created));
        }
        if let Some(count) = options.create_accounts {
            eprintln!("creating {count} accounts named {prefix}-…, which stay: the API deletes no account");
            let api = Api::new(options, &stage.tasks()).await?;
            let created = api.create_accounts(count, usize::from(options.tokens_each), &prefix).await?;
            if let Some(path) = &options.save_tokens {
                save(path, &created)?;
            }
            values.extend(created);
        }
        let are_new = !values.is_empty();
        match &options.tokens {
            Some(path) => values.extend(read(path)?),
            None if !are_new => values.extend(options.token.as_ref().map(|token| token.0.clone())),
            None => {}
        }
        values.retain(|value| !value.is_empty());
        let encode = |token: &String| form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let this = Self { values: Arc::new(values.iter().map(encode).collect()), made };
        if let Err(error) = this.check(options) {
            this.remove().await;
            return Err(error);
        }
        if are_new && let Some(last) = this.values.last() {
            arrive(target, last).await;
        }
        Ok(this)
    }

    fn check(&self, options: &Options) -> Result<(), LoadError> {
        match self.values.len() {
            0 => Err(LoadError::NoToken),
            1 if options.scenario.needs_many_tokens() => {
                Err(LoadError::OneToken(options.scenario.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Removes what was made, as far as the API does.
    pub(super) async fn remove(self) {
        if let Some((mut api, created)) = self.made {
            api.delete_tokens(&created).await;
        }
    }
}

fn read(path: &Path) -> Result<Vec<String>, LoadError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| LoadError::Tokens { path: path.to_owned(), source })?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// Only the owner may read what lets anybody ship.
fn save(path: &Path, tokens: &[String]) -> Result<(), LoadError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = open.and_then(|mut file| file.write_all((tokens.join("\n") + "\n").as_bytes()));
    written.map_err(|source| LoadError::Unwritable { path: path.to_owned(), source })
}

/// Waits until the gateway knows a token: it answers an empty batch, which stores nothing, with 200. If that never happens, the
/// run will show what it answers instead.
async fn arrive(target: &Target, token: &str) {
    for _ in 0..ARRIVAL_TRIES {
        if post_nothing(target, token).await == Some(200) {
            return;
        }
        tokio::time::sleep(ARRIVAL_PAUSE).await;
    }
}

async fn post_nothing(target: &Target, token: &str) -> Option<u16> {
    let stage = Shutdown::new();
    let mut link = Link::open(target, &stage.tasks()).await.ok()?;
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.door(token)?;
    request.headers_mut().insert(HOST, target.host.clone());
    Some(link.send(request).await.ok()?.status)
}
