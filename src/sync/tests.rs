use super::replica::ContractError;
use super::*;
use crate::domain::account::{AccountGrant, AccountId, Retention, TokenId};
use crate::domain::directory::{Change, OutOfOrder};
use crate::domain::terms::Terms;
use crate::domain::token::TokenDigest;
use crate::wire::Message;

pub(super) fn config() -> Config {
    Config {
        control_urls: Vec::new(),
        tokens_file: None,
        credential: GatewayCredential::from_entropy(&[0; 32]),
        gateway_id: "a gateway".to_owned(),
        gateway_id_file: PathBuf::new(),
        usage_interval: Duration::from_secs(10),
        ca_file: PathBuf::new(),
        last_good_file: PathBuf::new(),
        last_good_after: Duration::ZERO,
        last_good_interval: Duration::ZERO,
        stale_after: None,
        when_stale: WhenStale::Serve,
    }
}

fn digest(n: u32) -> TokenDigest {
    TokenDigest::of(&n.to_string())
}

fn account() -> Change {
    let retention = Retention { days: 3, bytes_max: None };
    Change::Account(AccountGrant { account: AccountId(1), durability: None, rate_bytes_max: None, retention })
}

fn token(n: u32) -> Change {
    Change::Token { digest: digest(n), token: TokenId(n), account: AccountId(1), terms: None }
}

fn line(message: &Message) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).unwrap();
    line.push(b'\n');
    line
}

fn hello(store: &str) -> Vec<u8> {
    line(&Message::Hello { version: wire::VERSION, store: store.into(), at_ms: 0 })
}

fn snapshot(revision: u64, changes: &[Change]) -> Vec<Vec<u8>> {
    let mut lines = vec![line(&Message::Snapshot { revision, changes: changes.len() as u64 })];
    let mut crc32c = 0;
    for change in changes {
        let line = line(&Message::Change(change.clone()));
        crc32c = crc32c::crc32c_append(crc32c, &line);
        lines.push(line);
    }
    lines.push(line(&Message::SnapshotEnd { crc32c }));
    lines
}

fn delta(revision: u64, changes: Vec<Change>) -> Vec<u8> {
    line(&Message::Delta { revision, at_ms: 0, changes, receipt: false })
}

struct Fixture {
    current: Current,
    clock: Clock,
    replica: Replica,
}

impl Fixture {
    fn new() -> Self {
        let current = Current::default();
        let clock = Clock::manual(0);
        let replica = Replica::new(current.clone(), Arc::new(Metrics::new()), clock.clone());
        Self { current, clock, replica }
    }

    fn feed(&mut self, lines: impl IntoIterator<Item = Vec<u8>>) -> Result<(), ContractError> {
        lines.into_iter().try_for_each(|line| self.replica.take(&line))
    }

    fn admits(&self, n: u32) -> Option<bool> {
        self.current.admit(&digest(n), || 0).map(|judged| judged.is_ok())
    }

    /// A stream that held revision 5 with token 1 enabled.
    fn loaded() -> Self {
        let mut this = Self::new();
        assert_eq!(this.replica.position(), None);
        this.feed([hello("a")]).unwrap();
        this.feed(snapshot(5, &[account(), token(1)])).unwrap();
        this
    }
}

#[test]
fn is_not_ready_before_a_whole_snapshot() {
    let mut this = Fixture::new();
    this.feed([hello("a")]).unwrap();
    let lines = snapshot(5, &[account(), token(1)]);
    let (last, before) = lines.split_last().unwrap();
    this.feed(before.to_vec()).unwrap();
    assert_eq!(this.admits(1), None);
    this.feed([last.clone()]).unwrap();
    assert_eq!(this.admits(1), Some(true));
}

#[test]
fn follows_deltas_and_continues_where_a_stream_ended() {
    let mut this = Fixture::loaded();
    this.feed([delta(6, vec![token(2)]), delta(7, vec![Change::Revoke { digest: digest(1) }])]).unwrap();
    assert_eq!((this.admits(1), this.admits(2)), (Some(false), Some(true)));
    let position = this.replica.position().unwrap();
    assert_eq!((position.store.as_str(), position.revision), ("a", 7));
    this.feed([hello("a"), delta(8, vec![token(3)])]).unwrap();
    assert_eq!((this.admits(2), this.admits(3)), (Some(true), Some(true)));
}

#[test]
fn another_store_means_another_directory() {
    let mut this = Fixture::loaded();
    this.replica.position();
    this.feed([hello("b")]).unwrap();
    assert_eq!(this.admits(1), Some(true), "the last good one serves until there is another");
    this.feed(snapshot(1, &[account(), token(2)])).unwrap();
    assert_eq!((this.admits(1), this.admits(2)), (Some(false), Some(true)));
}

#[test]
fn what_does_not_keep_to_the_contract_changes_nothing() {
    let retention = Retention { days: 3, bytes_max: None };
    let mut broken = snapshot(9, &[account(), token(2)]);
    *broken.last_mut().unwrap() = line(&Message::SnapshotEnd { crc32c: 1 });
    let mut short = snapshot(9, &[account(), token(2)]);
    short.remove(1);
    let mut long = snapshot(9, &[account(), token(2)]);
    let other = AccountGrant { account: AccountId(2), durability: None, rate_bytes_max: None, retention };
    long.insert(1, line(&Message::Change(Change::Account(other))));
    let unsorted = snapshot(9, &[token(2), account()]);
    let cases: Vec<(&str, Vec<Vec<u8>>, ContractError)> = vec![
        ("a gap", vec![delta(7, vec![token(2)])], ContractError::Gap { had: 5, got: 7 }),
        ("a repetition", vec![delta(5, vec![token(2)])], ContractError::Gap { had: 5, got: 5 }),
        (
            "a missed delta",
            vec![line(&Message::Heartbeat { revision: 6, at_ms: 0 })],
            ContractError::Gap { had: 5, got: 6 },
        ),
        ("a bad checksum", broken, ContractError::Checksum),
        ("a change too few", short, ContractError::OutOfPlace),
        ("a change too many", long, ContractError::OutOfPlace),
        ("changes out of order", unsorted, ContractError::Order(OutOfOrder)),
        ("a second hello", vec![hello("a")], ContractError::OutOfPlace),
        ("no JSON", vec![b"nonsense\n".to_vec()], ContractError::Unreadable),
    ];
    for (name, lines, expect) in cases {
        let mut this = Fixture::loaded();
        assert_eq!(this.feed(lines), Err(expect), "{name}");
        assert_eq!((this.admits(1), this.admits(2)), (Some(true), Some(false)), "{name}");
    }
}

#[test]
fn another_version_is_not_spoken() {
    let mut this = Fixture::new();
    let hello = line(&Message::Hello { version: 9, store: "a".into(), at_ms: 0 });
    assert_eq!(this.feed([hello]), Err(ContractError::Version(9)));
    assert_eq!(this.feed([delta(1, vec![])]), Err(ContractError::NoHello));
}

#[test]
fn the_control_planes_clock_decides_whatever_this_one_shows() {
    let mut this = Fixture::loaded();
    this.replica.position();
    let hello = |at_ms| line(&Message::Hello { version: wire::VERSION, store: "a".into(), at_ms });
    let heartbeat = |at_ms| line(&Message::Heartbeat { revision: 5, at_ms });
    this.feed([hello(50_000)]).unwrap();
    assert_eq!(this.current.control_unix_ms(0), 50_000);
    this.clock.advance(Duration::from_secs(5));
    this.feed([heartbeat(53_000)]).unwrap();
    assert_eq!(this.current.control_unix_ms(5_000), 55_000, "that one was late");
    this.feed([heartbeat(55_100)]).unwrap();
    assert_eq!(this.current.control_unix_ms(5_000), 55_100, "that one was faster than the first");
    // The control plane's clock is put back: seen when the samples from before are forgotten.
    this.feed((0..8).map(|_| heartbeat(1_000))).unwrap();
    assert_eq!(this.current.control_unix_ms(5_000), 1_000);
    this.replica.position();
    this.feed([hello(3_000)]).unwrap();
    assert_eq!(this.current.control_unix_ms(5_000), 3_000, "another replica may have another clock");
}

#[test]
fn a_stream_lives_while_its_snapshot_is_being_prepared() {
    let mut this = Fixture::new();
    this.feed([hello("a"), line(&Message::Heartbeat { revision: 0, at_ms: 70 })]).unwrap();
    assert_eq!(this.admits(1), None);
    assert_eq!(this.current.control_unix_ms(0), 70);
    this.feed(snapshot(5, &[account(), token(1)])).unwrap();
    assert_eq!(this.admits(1), Some(true));
}

#[test]
fn a_token_expires_by_the_control_planes_clock_however_wrong_this_one_is() {
    const NOW_MS: u64 = 1_700_000_000_000;
    const HOURS: u64 = 5 * 3_600_000;
    for own_ms in [NOW_MS, NOW_MS - HOURS, NOW_MS + HOURS, 0] {
        let current = Current::default();
        let clock = Clock::manual(own_ms);
        let mut replica = Replica::new(current.clone(), Arc::new(Metrics::new()), clock.clone());
        let terms = Terms { expires_ms: Some(NOW_MS + 10_000), ..Terms::default() }.shared();
        let expiring = Change::Token { digest: digest(1), token: TokenId(1), account: AccountId(1), terms };
        let hello = line(&Message::Hello { version: wire::VERSION, store: "a".into(), at_ms: NOW_MS });
        let lines = [vec![hello], snapshot(5, &[account(), expiring])].concat();
        lines.iter().for_each(|line| replica.take(line).unwrap());
        let admit = || current.admit(&digest(1), || clock.unix_ms()).unwrap();
        let permit = admit().unwrap();
        clock.advance(Duration::from_millis(9_999));
        assert!(admit().is_ok() && current.admit_again(&permit, || clock.unix_ms()).is_ok(), "{own_ms}");
        clock.advance(Duration::from_millis(1));
        assert!(admit().is_err() && current.admit_again(&permit, || clock.unix_ms()).is_err(), "{own_ms}");
    }
}
