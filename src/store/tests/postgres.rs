//! On PostgreSQL servers of the tests' own: the whole suite, several replicas of one store, and servers that go away.

use super::parallel::{act, replay};
use super::*;
use crate::postgres::{Postgres, SERVER};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// For what should be a matter of milliseconds, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every other test of the store and of the API over it, by this very program.
#[test]
fn all_of_it_holds_on_postgresql() {
    let Some(server) = Postgres::start() else { return };
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.env(SERVER, server.database()).args(["store::tests::", "control::tests::"]);
    // These start servers of their own, are about SQLite's files, or lock them.
    for other in
        ["store::tests::postgres::", "control::tests::outage::", "store::tests::files::", "not_ready_in_time"]
    {
        tests.args(["--skip", other]);
    }
    let tests = tests.output().unwrap();
    let said = String::from_utf8_lossy(&tests.stdout);
    assert!(tests.status.success(), "{said}{}", String::from_utf8_lossy(&tests.stderr));
    let made = server.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'test\\_%'");
    assert!(made.parse::<u32>().unwrap() > 50, "{made} databases: {said}");
}

fn options_of(url: String) -> Options {
    Options {
        location: Location::parse(&url).unwrap(),
        key: KeySource::Given(Key::from_hex(&"5a".repeat(32)).unwrap()),
        revisions_max: 100_000,
        readers_max: 4,
    }
}

async fn open(url: &str) -> Store {
    Store::open(options_of(url.to_owned()), Clock::system()).await.unwrap()
}

/// A replica with its own pools, which listens to the others.
async fn replica(url: &str) -> Store {
    let store = open(url).await;
    let following = store.clone();
    tokio::spawn(async move { following.follow_replicas().await });
    store
}

async fn first_account(store: &Store, plan: Plan) -> Option<AccountId> {
    let made = store.create_first_account(plan, settings("main"), secrets(0), &By::default()).await;
    made.unwrap().map(|account| account.id)
}

/// The last revision that the replica knows of.
fn known(store: &Store) -> u64 {
    *store.latest_revision().borrow()
}

async fn wait_for(latest: &mut Receiver<u64>, revision: u64) {
    timeout(PATIENCE, latest.wait_for(|latest| *latest >= revision)).await.unwrap().unwrap();
}

/// Every revision that the replica tells of, in the order it does, until `last` is known and reached.
async fn follow(store: Store, mut last: Receiver<Option<u64>>) -> Vec<Delta> {
    let mut latest = store.latest_revision();
    let mut seen: Vec<Delta> = vec![];
    loop {
        latest.mark_unchanged();
        let after = seen.last().map_or(0, |delta| delta.revision);
        let news = store.changes_after(after).await.unwrap().unwrap();
        seen.extend(news);
        let reached = seen.last().map(|delta| delta.revision);
        if reached.is_some() && reached == *last.borrow() {
            return seen;
        }
        if reached.unwrap_or(0) == after {
            // Woken by the replica's own commits and by the other's, and by nothing else.
            tokio::select! {
                woken = timeout(PATIENCE, latest.changed()) => woken.unwrap().unwrap(),
                _ = last.changed() => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn admins_at_two_replicas_never_break_a_rule_and_both_learn_of_every_revision() {
    let Some(server) = Postgres::start() else { return };
    for (plan, max) in [(Plan::Community, 1), (Plan::Pro, 15)] {
        let url = server.database();
        let replicas = [replica(&url).await, replica(&url).await];
        let main = first_account(&replicas[0], plan).await.unwrap();
        let sub = replicas[1].create_sub_account(main, settings("sub"), secrets(9_000), &By::default()).await;
        let accounts = [main, sub.unwrap().id];
        let (last, known) = tokio::sync::watch::channel(None);
        let followers = replicas.clone().map(|store| tokio::spawn(follow(store, known.clone())));
        let mut admins = JoinSet::new();
        for admin in 0..32 {
            // Of each account at each replica.
            let (store, account) = (&replicas[admin % 2], accounts[admin / 2 % 2]);
            admins.spawn(act(store.clone(), account, admin as u64, max));
        }
        admins.join_all().await;
        let snapshot = replicas[0].snapshot().await.unwrap();
        assert_eq!(snapshot, replicas[1].snapshot().await.unwrap());
        last.send_replace(Some(snapshot.revision));
        let [one, other] = followers;
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert_eq!(one, other, "the same revisions everywhere");
        let enabled = replay(&one, max as usize);
        let tokens = snapshot.changes.iter().filter(|change| matches!(change, Change::Token { .. })).count();
        assert_eq!(enabled.values().map(BTreeSet::len).sum::<usize>(), tokens);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_learns_at_once_and_takes_no_token_that_another_deleted() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let (one, other) = (replica(&url).await, replica(&url).await);
    let account = first_account(&one, Plan::Pro).await.unwrap();
    let by = By::default();
    let mut latest = other.latest_revision();
    wait_for(&mut latest, 1).await;
    // Twenty times looking would take longer than patience lasts.
    let told = async {
        for n in 0..20 {
            let enabled = n % 2 == 1;
            if n == 0 {
                one.create_token(account, new("second", true, 1), &by).await.unwrap();
            } else {
                one.update_token(account, TokenId(FIRST.0 + 1), switch(enabled), &by).await.unwrap();
            }
            wait_for(&mut latest, known(&one)).await;
            if n == 0 {
                one.update_token(account, TokenId(FIRST.0 + 1), switch(false), &by).await.unwrap();
            }
        }
    };
    timeout(PATIENCE, told).await.unwrap();
    let api_token = secrets(5).api_token;
    let made = one.create_api_token(account, "short-lived", &api_token, &by).await.unwrap();
    assert!(other.authenticate(&api_token.digest()).await.unwrap().is_some());
    one.delete_api_token(account, made.id, &by).await.unwrap();
    assert_eq!(other.authenticate(&api_token.digest()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_learns_at_once_what_another_shares() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let (one, other) = (replica(&url).await, replica(&url).await);
    let account = first_account(&one, Plan::Pro).await.unwrap();
    wait_for(&mut other.latest_revision(), 1).await;
    let mut changes = other.sharing_changes();
    let (share, secret) = sharing::first_share(&one, account).await;
    // Twenty times looking would take longer than patience lasts.
    let told = async {
        for n in 0..20 {
            changes.mark_unchanged();
            let query_bar = Some(n % 2 == 1);
            let update = shared_tokens::ShareUpdate { query_bar, ..Default::default() };
            one.update_share(account, share, update, &By::default()).await.unwrap();
            changes.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, told).await.unwrap();
    one.delete_share(account, share, &By::default()).await.unwrap();
    timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
    assert_eq!(other.open_share(&secret.digest()).await.unwrap(), shared_tokens::Found::Nothing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_start_at_once_make_one_store_with_one_account() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let starts: JoinSet<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            async move {
                let store = open(&url).await;
                (store.id().to_owned(), first_account(&store, Plan::Pro).await)
            }
        })
        .collect();
    let started = timeout(PATIENCE, starts.join_all()).await.unwrap();
    assert_eq!(started.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(started.iter().filter(|(_, account)| account.is_some()).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_replicas_without_a_key_in_common_one_starts() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let folder = tempfile::tempdir().unwrap();
    let starts: JoinSet<_> = (0..4)
        .map(|n| {
            let key = KeySource::File(folder.path().join(format!("{n}.key")));
            Store::open(Options { key, ..options_of(url.clone()) }, Clock::system())
        })
        .collect();
    let started = timeout(PATIENCE, starts.join_all()).await.unwrap();
    let refused = started.iter().filter(|start| matches!(start, Err(OpenError::Key(KeyError::Missing(_)))));
    assert_eq!(refused.count(), 3);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no key that opens nothing is left");
    let wrong = Store::open(options_of(url), Clock::system()).await;
    assert!(matches!(wrong.err(), Some(OpenError::WrongKey)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_went_and_came_back_is_used_again() {
    let Some(mut server) = Postgres::start() else { return };
    let url = server.database();
    let (one, other) = (replica(&url).await, replica(&url).await);
    let account = first_account(&one, Plan::Pro).await.unwrap();
    for crashes in [false, true] {
        if crashes {
            server.crash();
        } else {
            server.stop();
        }
        let began = Instant::now();
        let by = By::default();
        let (write, read, whole) = tokio::join!(
            one.create_token(account, new("none", true, 9), &by),
            one.token(account, FIRST),
            other.snapshot()
        );
        assert!(matches!(write, Err(StoreError::Unavailable(_))), "{write:?}");
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        assert!(matches!(whole, Err(StoreError::Unavailable(_))), "{whole:?}");
        assert!(began.elapsed() < PATIENCE);
        server.run();
        let name = format!("crashes {crashes}");
        one.create_token(account, new(&name, true, u64::from(crashes) + 1), &by).await.unwrap();
        wait_for(&mut other.latest_revision(), known(&one)).await;
        assert_eq!(one.snapshot().await.unwrap(), other.snapshot().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_a_later_version_adds_disturb_nobody() {
    let Some(server) = Postgres::start() else { return };
    let store = open(&server.database()).await;
    let account = first_account(&store, Plan::Pro).await.unwrap();
    let by = By::default();
    for round in 0..2 {
        // Twice on each connection: the second time as prepared before.
        for n in 0..8 {
            let name = format!("{round} {n}");
            let id =
                store.create_token(account, new(&name, false, round * 100 + n + 1), &by).await.unwrap().id;
            store.token(account, id).await.unwrap();
            store.default_token(account).await.unwrap();
            store.search_tokens(account, &TokenSearch { limit: 9, ..TokenSearch::default() }).await.unwrap();
            store.accounts(account).await.unwrap();
            store.authenticate(&secrets(0).api_token.digest()).await.unwrap().unwrap();
            store.api_tokens(account).await.unwrap();
            store.audit_trail(account, &Wanted::default(), 9).await.unwrap();
            store.changes_after(0).await.unwrap().unwrap();
            store.snapshot().await.unwrap();
            store.update_account(account, account, AccountUpdate::default(), &by).await.unwrap();
            store.delete_token(account, id, &by).await.unwrap();
            store.token_usage(account, id).await.unwrap();
            sharing::live_once(&store, account).await;
            store.account_usage(account, 9).await.unwrap();
        }
        let tables =
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '\\_%'";
        for table in server.sql("test_0", tables).lines() {
            server.sql("test_0", &format!("ALTER TABLE {table} ADD COLUMN later_{round} BIGINT"));
        }
    }
}

/// Creates tokens until told to stop: how many were confirmed, and the numbers of those that were not, by whether they
/// may exist.
async fn create_throughout(
    store: Store,
    account: AccountId,
    writer: u64,
    stop: Receiver<bool>,
) -> Vec<(String, Option<bool>)> {
    let mut outcomes = vec![];
    while !*stop.borrow() {
        let name = format!("{writer}-{}", outcomes.len());
        let new = new(&name, false, writer * 100_000 + outcomes.len() as u64);
        let outcome = match store.create_token(account, new, &By::default()).await {
            Ok(_) => Some(true),
            Err(StoreError::Unavailable(_)) => Some(false),
            Err(StoreError::OutcomeUnknown(_)) => None,
            Err(fault) => panic!("{fault:?}"),
        };
        outcomes.push((name, outcome));
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_said_of_a_change_while_servers_crashed_is_true() {
    let Some(mut server) = Postgres::start() else { return };
    let url = server.database();
    let replicas = [replica(&url).await, replica(&url).await];
    let account = first_account(&replicas[0], Plan::Pro).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers: JoinSet<_> = (0..8)
        .map(|n| create_throughout(replicas[n % 2].clone(), account, n as u64 + 1, stopped.clone()))
        .collect();
    for round in 0..4 {
        let committed =
            || server.sql("test_0", "SELECT count(*) FROM shipping_tokens").parse::<u64>().unwrap();
        let before = committed();
        let began = Instant::now();
        while committed() < before + 50 {
            assert!(began.elapsed() < PATIENCE);
        }
        if round % 2 == 0 {
            server.crash();
        } else {
            server.stop();
        }
        server.run();
    }
    stop.send_replace(true);
    let outcomes: Vec<_> = timeout(PATIENCE, writers.join_all()).await.unwrap().concat();
    let all = TokenSearch { limit: u32::MAX, ..TokenSearch::default() };
    let found = replicas[0].search_tokens(account, &all).await.unwrap().tokens;
    let found: BTreeSet<_> = found.into_iter().map(|token| token.name).collect();
    for (name, outcome) in &outcomes {
        if let Some(made) = outcome {
            assert_eq!(found.contains(name), *made, "{name}: {outcome:?}");
        }
    }
    let of = |what| outcomes.iter().filter(|(_, outcome)| *outcome == what).count();
    assert!(of(Some(true)) >= 200 && of(Some(false)) > 0, "{} and {}", of(Some(true)), of(Some(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_hangs_inside_a_change_does_not_stop_the_others_for_ever() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let (one, other) = (open(&url).await, open(&url).await);
    let account = first_account(&one, Plan::Pro).await.unwrap();
    let by = By::default();
    let hanging = write::Write::begin(&one.0, &by).await.unwrap();
    let began = Instant::now();
    let mut attempts = 0;
    while let Err(fault) = other.create_token(account, new("other", true, 1), &by).await {
        assert!(matches!(fault, StoreError::Unavailable(_)), "{fault:?}");
        assert!(began.elapsed() < PATIENCE);
        attempts += 1;
    }
    assert!(attempts <= 2, "{attempts}");
    assert!(matches!(
        hanging.commit().await,
        Err(StoreError::OutcomeUnknown(_) | StoreError::Unavailable(_))
    ));
    one.create_token(account, new("one", true, 2), &by).await.unwrap();
}

/// A way to the server that swallows everything, once told to: what a cut line looks like from here.
async fn way_to(port: u16, swallow: Receiver<bool>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut swallow = swallow.clone();
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let cut = tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => false,
                    // One that is open when the line is cut stays dumb for ever.
                    cut = swallow.wait_for(|swallow| *swallow) => cut.is_ok(),
                };
                if cut {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    own
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_over_a_line_that_was_cut_are_left_behind() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let (cut, swallow) = tokio::sync::watch::channel(false);
    let port = way_to(server.port(), swallow).await;
    let (far, near) =
        (open(&url.replace(&server.port().to_string(), &port.to_string())).await, open(&url).await);
    let account = first_account(&far, Plan::Pro).await.unwrap();
    let following = far.clone();
    tokio::spawn(async move { following.follow_replicas().await });
    far.create_token(account, new("before", true, 1), &By::default()).await.unwrap();
    // Not while it is given back: the driver then asks it a second time, and waits for as long as the kernel lets it.
    let given_back = async {
        while far.0.writer.num_idle() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, given_back).await.unwrap();
    cut.send_replace(true);
    // Whoever asks gives up at some time, as the API does.
    let by = By::default();
    let asked = far.create_token(account, new("lost", true, 2), &by);
    let given_up = timeout(Duration::from_millis(300), asked).await;
    assert!(given_up.is_err(), "{given_up:?}");
    cut.send_replace(false);
    let began = Instant::now();
    let mut n = 3;
    while let Err(fault) = far.create_token(account, new("after", true, n), &by).await {
        assert!(matches!(fault, StoreError::Unavailable(_)), "{fault:?}");
        assert!(began.elapsed() < PATIENCE);
        n += 1;
    }
    // The replica listens again, too.
    near.create_token(account, new("near", true, 99), &by).await.unwrap();
    wait_for(&mut far.latest_revision(), known(&near)).await;
}

/// A certificate authority that nobody else knows, in a file.
fn authority(folder: &TempDir) -> (CertifiedIssuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let path = folder.path().join(uuid::Uuid::new_v4().to_string());
    std::fs::write(&path, issuer.pem()).unwrap();
    (issuer, path.to_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_the_database_is_as_safe_as_its_address_asks() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let open = async |query: &str| {
        let url = url.replace("sslmode=disable", query);
        let store = Store::open(options_of(url), Clock::system()).await?;
        // In the words of the server; yes or no, as text, of every connection.
        let connections =
            sqlx::query("SELECT MIN(ssl::text) AS ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
        let row = connections.fetch_one(&store.0.readers).await.unwrap();
        Ok::<String, OpenError>(row.get("ssl"))
    };
    let folder = tempfile::tempdir().unwrap();
    let (issuer, known) = authority(&folder);
    let (_, unknown) = authority(&folder);
    let verified = format!("sslmode=verify-full&sslrootcert={known}");
    assert_eq!(open("sslmode=prefer").await.unwrap(), "false", "it has no certificate yet");
    for query in ["sslmode=require", &verified] {
        assert!(matches!(open(query).await, Err(OpenError::Connect(sqlx::Error::Tls(_)))), "{query}");
    }
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    server.offer_tls(&params.signed_by(&key, &issuer).unwrap().pem(), &key.serialize_pem());
    for query in ["sslmode=prefer", "sslmode=require", &verified] {
        assert_eq!(open(query).await.unwrap(), "true", "{query}");
    }
    let stranger = format!("sslmode=verify-full&sslrootcert={unknown}");
    for query in [&stranger, "sslmode=verify-full"] {
        assert!(matches!(open(query).await, Err(OpenError::Connect(_))), "{query}");
    }
}
