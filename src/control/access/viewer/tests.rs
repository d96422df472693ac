//! Who a viewer is, and what a watch says of changes.

use super::*;
use crate::clock::Clock;
use crate::domain::filter::{Filter, FilterSet, Operator};
use crate::domain::plan::Plan;
use crate::domain::token::SharedToken;
use crate::store::By;
use crate::store::database::Location;
use crate::store::key::{Key, KeySource};
use crate::store::shared_tokens::{NewShare, ShareId, ShareUpdate};
use crate::store::users::{Invitation, PasswordHash, Role, UserUpdate};
use axum::http::Request;
use tempfile::TempDir;

struct World {
    _folder: TempDir,
    options: crate::store::Options,
    clock: Clock,
    store: Store,
    account: AccountId,
    api_token: String,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = crate::store::Options {
            location: Location::Sqlite(folder.path().join("control.db")),
            key: KeySource::Given(Key::from_hex(&"5a".repeat(32)).unwrap()),
            revisions_max: 10,
            readers_max: 2,
        };
        let clock = Clock::manual(1_700_000_000_000);
        let store = Store::open(options.clone(), clock.clone()).await.unwrap();
        let wanted = crate::control::first_start::Bootstrap {
            account_name: "main".to_owned(),
            plan: Plan::Pro,
            api_token: None,
            shipping_token: None,
        };
        let first = crate::control::first_start::bootstrap(&store, wanted).await.unwrap().unwrap();
        let api_token = first.api_token.expose().to_owned();
        Self { _folder: folder, options, clock, store, account: first.account, api_token }
    }

    async fn share(&self, name: &str) -> ShareId {
        let new = NewShare {
            name,
            filters: vec![],
            operator: Operator::And,
            expires_ms: None,
            query_bar: true,
            secret: SharedToken::parse(&secret(name)).unwrap(),
        };
        self.store.create_share(self.account, new, &By::default()).await.unwrap().id
    }

    async fn viewer(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Viewer, ApiError> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let limits = SessionLimits { idle_ms: 60_000, age_ms_max: 60_000 };
        Viewer::of(&parts, self.store.clone(), &Sessions { limits, public_url: None }).await
    }
}

fn secret(name: &str) -> String {
    format!("the-secret-of-the-shared-token-{name}")
}

#[tokio::test]
async fn a_viewer_is_made_of_an_api_token_or_a_shared_token_which_decides() {
    let world = World::new().await;
    let (one, admin) = (secret("one"), world.api_token.clone());
    let id = world.share("one").await;
    let filter = Filter { field: "env".to_owned(), value: "test".to_owned() };
    let stored = world.store.create_filter(world.account, filter.clone(), "", &By::default()).await.unwrap();
    let update = ShareUpdate { filters: Some(vec![stored.id]), ..ShareUpdate::default() };
    world.store.update_share(world.account, id, update, &By::default()).await.unwrap();
    let only = Access::Only(FilterSet::new(Operator::And, vec![filter]).unwrap());
    let in_query = format!("/?embed=true&shareToken={one}");
    let wrong_query = "/?shareToken=wrong";
    let (api, shared) = ("x-api-token", "x-shared-token");
    for (method, path, headers, expect) in [
        ("GET", "/", vec![(api, admin.as_str())], Ok(&Access::Everything)),
        ("POST", "/", vec![(api, admin.as_str())], Ok(&Access::Everything)),
        ("GET", "/", vec![(shared, one.as_str())], Ok(&only)),
        ("POST", "/", vec![(shared, one.as_str())], Ok(&only)),
        ("GET", in_query.as_str(), vec![], Ok(&only)),
        ("HEAD", in_query.as_str(), vec![], Ok(&only)),
        ("POST", in_query.as_str(), vec![], Err(403)),
        // Whatever else is sent: what a recipient sees.
        ("GET", in_query.as_str(), vec![(api, admin.as_str())], Ok(&only)),
        ("GET", "/", vec![(api, admin.as_str()), (shared, one.as_str())], Ok(&only)),
        ("GET", wrong_query, vec![(api, admin.as_str())], Err(401)),
        ("GET", wrong_query, vec![(shared, one.as_str())], Ok(&only)),
        ("GET", "/", vec![], Err(403)),
        ("GET", "/", vec![(api, one.as_str())], Err(403)),
        ("GET", "/", vec![(shared, admin.as_str())], Err(401)),
        ("GET", "/", vec![(shared, "")], Err(401)),
        ("GET", "/?shareToken=", vec![(api, admin.as_str())], Err(401)),
    ] {
        let viewer = world.viewer(method, path, &headers).await;
        let status = |error: &ApiError| match error {
            ApiError::Forbidden => 403,
            ApiError::NotShared => 401,
            other => panic!("{other:?}"),
        };
        let seen = viewer.as_ref().map(Viewer::access).map_err(status);
        assert_eq!(seen, expect, "{method} {path}");
    }
}

#[tokio::test]
async fn a_watch_says_at_once_what_was_changed() {
    let world = World::new().await;
    let id = world.share("one").await;
    let filter = Filter { field: "env".to_owned(), value: "test".to_owned() };
    let stored = world.store.create_filter(world.account, filter.clone(), "", &By::default()).await.unwrap();
    let viewer = world.viewer("GET", "/", &[("x-shared-token", &secret("one"))]).await.unwrap();
    let update = ShareUpdate { filters: Some(vec![stored.id]), ..ShareUpdate::default() };
    world.store.update_share(world.account, id, update, &By::default()).await.unwrap();
    // Changed between the request's beginning and the first look.
    let mut watch = viewer.watch();
    let only = Access::Only(FilterSet::new(Operator::And, vec![filter]).unwrap());
    assert_eq!(watch.access().await, Ok(&only));
    world.store.delete_filter(world.account, stored.id, &By::default()).await.unwrap();
    watch.stirred().await;
    assert_eq!(watch.access().await, Ok(&Access::Nothing));
    world.store.delete_share(world.account, id, &By::default()).await.unwrap();
    watch.stirred().await;
    assert_eq!(watch.access().await, Err(Over::Deleted));
}

#[tokio::test]
async fn a_watch_ends_at_the_instant_at_which_its_token_expires() {
    let world = World::new().await;
    let id = world.share("one").await;
    let at = world.store.unix_ms() + 60_000;
    let update = ShareUpdate { expires_ms: Some(Some(at)), ..ShareUpdate::default() };
    world.store.update_share(world.account, id, update, &By::default()).await.unwrap();
    let viewer = world.viewer("GET", "/", &[("x-shared-token", &secret("one"))]).await.unwrap();
    let mut watch = viewer.watch();
    assert_eq!(watch.access().await, Ok(&Access::Everything));
    world.clock.advance(Duration::from_millis(59_999));
    assert_eq!(watch.access().await, Ok(&Access::Everything));
    world.clock.advance(Duration::from_millis(1));
    watch.stirred().await;
    assert_eq!(watch.access().await, Err(Over::Expired));
}

#[tokio::test]
async fn a_watch_ends_with_its_api_token() {
    let world = World::new().await;
    let another = crate::domain::token::ApiToken::parse("another-api-token-of-main").unwrap();
    let made =
        world.store.create_api_token(world.account, "another", &another, &By::default()).await.unwrap();
    let viewer = world.viewer("GET", "/", &[("x-api-token", another.expose())]).await.unwrap();
    let mut watch = viewer.watch();
    assert_eq!(watch.access().await, Ok(&Access::Everything));
    world.store.delete_api_token(world.account, made.id, &By::default()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(watch.access().await, Err(Over::Deleted), "and stays ended");
    }
}

#[tokio::test]
async fn a_watch_looks_by_itself_when_nobody_tells_of_a_change() {
    let world = World::new().await;
    let id = world.share("one").await;
    let mut watch =
        world.viewer("GET", "/?shareToken=", &[("x-shared-token", &secret("one"))]).await.unwrap().watch();
    assert_eq!(watch.access().await, Ok(&Access::Everything));
    let another = Store::open(world.options.clone(), world.clock.clone()).await.unwrap();
    another.delete_share(world.account, id, &By::default()).await.unwrap();
    let ended = async {
        loop {
            if let Err(over) = watch.access().await {
                return over;
            }
            watch.stirred().await;
        }
    };
    assert_eq!(timeout(Duration::from_secs(10), ended).await, Ok(Over::Deleted));
}

#[tokio::test]
async fn a_watch_ends_with_the_session_that_it_reads_by() {
    let world = World::new().await;
    let (store, by) = (&world.store, By::default());
    let limits = SessionLimits { idle_ms: 60_000, age_ms_max: 60_000 };
    let invitation = Invitation { digest: TokenDigest::of("invitation"), expires_ms: u64::MAX >> 1 };
    for (name, suspended) in [("signed out", false), ("suspended", true)] {
        let email = format!("{}@example.com", name.replace(' ', "-"));
        store.invite_user(world.account, &email, Role::User, &invitation, &by).await.unwrap();
        let user = store.join(&invitation.digest, PasswordHash("a hash".to_owned()), &by).await.unwrap();
        let session = TokenDigest::of(name);
        store.create_session(&user, &session, limits, &by).await.unwrap();
        let cookie = format!("other=1; shipgate_session={name}");
        let posted = world.viewer("POST", "/", &[("cookie", &cookie)]).await;
        assert!(matches!(posted, Err(ApiError::CrossSite)), "a cookie alone asks for nothing but a page");
        let mut watch = world.viewer("GET", "/", &[("cookie", &cookie)]).await.unwrap().watch();
        assert_eq!(watch.access().await, Ok(&Access::Everything));
        if suspended {
            let update = UserUpdate { suspended: Some(true), ..UserUpdate::default() };
            store.update_user(world.account, user.id, update, &by).await.unwrap();
        } else {
            store.end_session(&user, &session, &by).await.unwrap();
        }
        assert_eq!(watch.access().await, Err(Over::Deleted), "{name}");
        let again = world.viewer("GET", "/", &[("cookie", &cookie)]).await;
        assert!(matches!(again, Err(ApiError::NotSignedIn { .. })), "{name}");
    }
}
