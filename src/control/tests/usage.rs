//! The ledger as admins see it.

use super::*;
use crate::clock::Clock;
use crate::domain::account::TokenId;
use crate::domain::token::TokenDigest;
use crate::domain::usage::{ClientUse, StrangerUse, Sums, TokenUse, Usage, day_of, minute_of};
use crate::wire::{self, Counted, REPORT_PATH, Report, ReportAnswer, USES_MAX};
use serde_json::json;

fn report(running: &Running, number: u64, usage: Usage) -> Report {
    let counted = Counted { number, store: running.store.id().to_owned(), usage };
    Report {
        version: wire::VERSION,
        gateway: "a".to_owned(),
        instance: "process".to_owned(),
        number,
        address: String::new(),
        software: String::new(),
        store: running.store.id().to_owned(),
        revision: 0,
        started_ms: 0,
        requests: 0,
        requests_per_second: 0.0,
        lines: 40,
        lines_per_second: 12.5,
        refusals: [("over_rate".to_owned(), 3)].into(),
        stopping: false,
        usage: Some(counted),
    }
}

async fn send(running: &Running, report: &Report) -> Answer {
    running.gateway().post(REPORT_PATH, serde_json::to_string(report).unwrap()).await
}

fn client(minute: u32) -> Vec<ClientUse> {
    let (source, agent) = ([192, 0, 2, 7].into(), "shipper/1.0".to_owned());
    vec![ClientUse { source, agent, requests: 2, last_minute: minute }]
}

fn token_use(token: u64, minute: u32) -> TokenUse {
    TokenUse {
        token: TokenId(token as u32),
        day: day_of(minute),
        sums: Sums { requests: 2, lines: 5, bytes: 500, refused_lines: 1 },
        first_minute: minute,
        last_minute: minute,
        refusals: vec![("over_rate".to_owned(), 4), ("would_refuse".to_owned(), 1)],
        clients: client(minute),
    }
}

#[tokio::test]
async fn the_ledger_tells_who_ships_and_who_still_tries() {
    let running = Running::start(Plan::Pro).await;
    let admin = running.admin();
    let path = admin.create("gone").await;
    let gone = admin.delete(&path).await.json;
    let minute = minute_of(Clock::system().unix_ms());
    let digest = TokenDigest::of(gone["token"].as_str().unwrap());
    let stranger = |digest| StrangerUse { digest, requests: 3, last_minute: minute, clients: client(minute) };
    let usage = Usage {
        tokens: vec![token_use(1_000_000, minute)],
        strangers: vec![stranger(digest), stranger(TokenDigest::of("random"))],
    };
    for _ in 0..2 {
        let answer = send(&running, &report(&running, 1, usage.clone())).await;
        let answer: ReportAnswer = serde_json::from_value(answer.json).unwrap();
        assert_eq!(answer.known, [digest]);
    }

    let of_gone = admin.get(&format!("{path}/usage")).await;
    let at = json!(f64::from(minute) * 60.0);
    let clients = json!([{
        "sourceAddress": "192.0.2.7", "userAgent": "shipper/1.0", "requests": 2, "lastSeenAt": at,
    }]);
    assert_eq!((of_gone.status, &of_gone.json["state"]), (200, &json!("deleted")), "{of_gone:?}");
    assert!(of_gone.json["deletedAt"].is_number());
    let after_end = json!({ "requests": 3, "lastSeenAt": at, "clients": clients });
    assert_eq!(of_gone.json["usedAfterEnd"], after_end);
    assert_eq!((&of_gone.json["requests"], &of_gone.json["firstUsedAt"]), (&json!(0), &Value::Null));
    assert_eq!(of_gone.json["days"][0]["refusals"], json!({ "deleted": 3 }));

    let all = admin.get("/v1/log-shipping/usage").await.json;
    let used = all["tokens"].as_array().unwrap().iter().find(|token| token["id"] == 1_000_000).unwrap();
    for (key, expect) in [
        ("state", json!("enabled")),
        ("requests", json!(2)),
        ("lines", json!(5)),
        ("linesToday", json!(5)),
        ("bytes", json!(500)),
        ("refusedLines", json!(1)),
        ("refusals", json!({ "over_rate": 4 })),
        ("wouldRefuse", json!(1)),
        ("firstUsedAt", at.clone()),
        ("lastUsedAt", at),
        ("clients", clients),
        ("usedAfterEnd", Value::Null),
    ] {
        assert_eq!(used[key], expect, "{key}");
    }
    let refused = admin.get("/v1/log-shipping/refused-tokens").await.json;
    assert_eq!(refused["tokens"].as_array().unwrap().len(), 1, "{refused}");
    let expect = (&json!(running.first.account.0), &of_gone.json["id"], &of_gone.json["usedAfterEnd"]);
    let token = &refused["tokens"][0];
    assert_eq!((&token["accountId"], &token["id"], &token["usedAfterEnd"]), expect);
    assert_eq!(refused["unknown"], of_gone.json["usedAfterEnd"]["clients"], "of the random one");
    assert!(!refused.to_string().contains(&TokenDigest::of("random").to_hex()));
    assert!(!all.to_string().contains(running.first.shipping_token.expose()));
    assert_eq!(admin.get("/v1/log-shipping/usage?limit=1").await.json["tokens"].as_array().unwrap().len(), 1);
    for query in ["limit=0", "limit=1001", "unknown=1"] {
        for call in ["usage", "refused-tokens"] {
            let answer = admin.get(&format!("/v1/log-shipping/{call}?{query}")).await;
            assert_eq!(answer.status, 400, "{call} {query}");
        }
    }
}

#[tokio::test]
async fn an_admin_sees_the_use_of_its_own_accounts_tokens_only() {
    let running = Running::start(Plan::Pro).await;
    let created = running.admin().post(ACCOUNTS, r#"{"accountName":"team"}"#).await.json;
    let sub = running.with(created["apiToken"].as_str().unwrap());
    let minute = minute_of(Clock::system().unix_ms());
    let tokens = vec![token_use(1_000_000, minute), token_use(1_000_001, minute)];
    assert_eq!(send(&running, &report(&running, 1, Usage { tokens, strangers: vec![] })).await.status, 200);
    assert_eq!(sub.get("/v1/log-shipping/refused-tokens").await.status, 403);
    for (api, own, other) in [(&running.admin(), 1_000_000, 1_000_001), (&sub, 1_000_001, 1_000_000)] {
        let seen = api.get("/v1/log-shipping/usage").await.json;
        assert_eq!(seen["tokens"].as_array().unwrap().len(), 1);
        assert_eq!((&seen["tokens"][0]["id"], &seen["tokens"][0]["lines"]), (&json!(own), &json!(5)));
        assert_eq!(seen["tokens"][0]["linesToday"], 5);
        assert_eq!(api.get(&format!("{TOKENS}/{own}/usage")).await.status, 200);
        assert_eq!(api.get(&format!("{TOKENS}/{other}/usage")).await.code(), "LogShippingTokens/NOT_FOUND");
    }
}

#[tokio::test]
async fn counts_of_another_store_and_too_many_are_not_added() {
    let running = Running::start(Plan::Pro).await;
    let minute = minute_of(Clock::system().unix_ms());
    let usage = Usage { tokens: vec![token_use(1_000_000, minute)], strangers: vec![] };
    let mut foreign = report(&running, 1, usage);
    foreign.usage.as_mut().unwrap().store = "another".to_owned();
    assert_eq!(send(&running, &foreign).await.status, 200);
    // Far beyond what admins may send, yet one report.
    let tokens = vec![token_use(1_000_000, minute); USES_MAX + 1];
    let too_many = report(&running, 2, Usage { tokens, strangers: vec![] });
    assert!(serde_json::to_string(&too_many).unwrap().len() > BODY_BYTES_MAX);
    assert_eq!(send(&running, &too_many).await.status, 400);
    let seen = running.admin().get("/v1/log-shipping/usage").await.json;
    assert_eq!(seen["tokens"][0]["requests"], 0);
}
