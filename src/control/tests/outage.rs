//! The database goes away, and comes back.

use super::*;
use crate::postgres::Postgres;

const TOKENS: &str = "/v1/log-shipping/tokens";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_a_503_until_it_is_back() {
    let Some(mut server) = Postgres::start() else { return };
    let location = Location::parse(&server.database()).unwrap();
    let running = Running::start_with(Plan::Pro, |config| config.store = location).await;
    assert_eq!(running.admin().get("/v1/whoami").await.status, 200);
    server.stop();
    let (read, write) = (running.admin(), running.admin());
    let (read, write) = tokio::join!(read.get("/v1/whoami"), write.post(TOKENS, r#"{"name":"lost"}"#));
    for answer in [read, write] {
        assert_eq!((answer.status, answer.code()), (503, "Request/UNAVAILABLE"));
    }
    server.run();
    assert_eq!(running.admin().post(TOKENS, r#"{"name":"kept"}"#).await.status, 201);
    let found = running.admin().post(&format!("{TOKENS}/search"), "{}").await;
    assert_eq!(found.json["results"][1]["name"], "kept", "{}", found.json);
}
