//! What the benches that tell where time goes have in common: logs that differ from one another, and who may ship them.

use shipgate::domain::account::{AccountGrant, AccountId, Durability, Retention, TokenId};
use shipgate::domain::directory::{Change, Directory};
use shipgate::domain::token::TokenDigest;

/// Lines of a usual batch.
pub const LINES: usize = 100;

/// Enabled in every [`directory`].
pub const TOKEN: &str = "shipping-token-of-the-benchmark";

/// The same sequence of numbers in every run, from a seed on.
pub struct Random(pub u64);

impl Random {
    /// A number from 0 to below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = self.0 ^ (self.0 >> 33);
        ((mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) * bound) >> 32
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn hex(&mut self) -> u64 {
        (self.below(1 << 32) << 32) | self.below(1 << 32)
    }
}

/// A batch as a web application ships it: about 190 bytes a line, and never the same line twice.
pub fn body(random: &mut Random, lines: usize) -> String {
    (0..lines).map(|_| line(random) + "\n").collect()
}

fn line(random: &mut Random) -> String {
    let message = match random.below(4) {
        0 => format!("order {} placed, {} items in basket", random.below(1_000_000), random.below(20)),
        1 => format!("cache miss for user:{}:profile, loaded from database", random.below(1_000_000)),
        2 => format!("GET /v1/products/{}?page={} done", random.below(100_000), random.below(50)),
        _ => {
            format!("retrying payment of customer {} in {} ms", random.below(1_000_000), random.below(5_000))
        }
    };
    format!(
        r#"{{"level":"{}","service":"{}","host":"web-{}","trace":"{:016x}","status":{},"duration_ms":{}.{:02},"user":"u{}","message":"{message}"}}"#,
        random.of(&["info", "info", "info", "warn", "error", "debug"]),
        random.of(&["checkout", "catalogue", "search", "gateway", "accounts"]),
        random.below(64),
        random.hex(),
        random.of(&["200", "200", "200", "201", "404", "500"]),
        random.below(2_000),
        random.below(100),
        random.below(1_000_000),
    )
}

/// [`TOKEN`] and others up to so many, ten to an account.
pub fn directory(tokens: u32, durability: Durability) -> Directory {
    let mut directory = Directory::default();
    let retention = Retention { days: 7, bytes_max: None };
    for account in (0..=tokens / 10).map(AccountId) {
        let grant = AccountGrant { account, durability: Some(durability), rate_bytes_max: None, retention };
        directory.apply(Change::Account(grant));
    }
    let mut random = Random(1);
    for n in 1..tokens {
        let mut digest = [0; 32];
        digest.as_chunks_mut().0.iter_mut().for_each(|part| *part = random.hex().to_le_bytes());
        let digest = TokenDigest::from_bytes(digest);
        directory.apply(Change::Token { digest, token: TokenId(n), account: AccountId(n / 10), terms: None });
    }
    directory.apply(Change::Token {
        digest: TokenDigest::of(TOKEN),
        token: TokenId(0),
        account: AccountId(0),
        terms: None,
    });
    directory
}
