//! How old the directory in force is, and what follows from that for shippers.

use super::current::{Current, Stance};
use super::{Config, WhenStale};
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);

/// Shows how long ago the directory was last confirmed, and takes the configured stance when that is too long.
pub async fn watch(config: Config, current: Current, metrics: Arc<Metrics>, tasks: Tasks) {
    let mut revisions = current.revisions();
    loop {
        if current.is_ready() {
            // Whoever put it in force, and be it from disk.
            if let Some(directory) = current.directory() {
                metrics.directory.revision.set(directory.revision() as i64);
                metrics.directory.tokens.set(directory.tokens() as i64);
            }
            let age = current.age();
            metrics.directory.age_seconds.set(age.map_or(i64::MAX, |age| age.as_secs() as i64));
            let stance = stance(&config, age);
            if stance != current.stance() {
                current.set_stance(stance);
                announce(stance, age);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            // What was just read from disk may be too old; what just came is not.
            _ = revisions.changed() => {}
            () = tasks.draining() => return,
        }
    }
}

fn stance(config: &Config, age: Option<Duration>) -> Stance {
    let is_stale = config.stale_after.is_some_and(|limit| age.is_none_or(|age| age > limit));
    match config.when_stale {
        WhenStale::RefuseConnections if is_stale => Stance::RefuseConnections,
        WhenStale::Refuse if is_stale => Stance::Refuse,
        _ => Stance::Serve,
    }
}

fn announce(stance: Stance, age: Option<Duration>) {
    let age_seconds = age.map(|age| age.as_secs());
    match stance {
        Stance::Serve => tracing::info!("the directory of tokens is current again: serving"),
        Stance::RefuseConnections => {
            tracing::error!(age_seconds, "the directory of tokens is too old: new connections are refused");
        }
        Stance::Refuse => {
            tracing::error!(age_seconds, "the directory of tokens is too old: batches are refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::tests::config;

    #[test]
    fn the_stance_follows_from_age_and_policy() {
        let (seconds, unknown) = (|seconds| Some(Duration::from_secs(seconds)), None);
        for (when_stale, stale_after, age, expect) in [
            (WhenStale::Refuse, None, unknown, Stance::Serve),
            (WhenStale::Refuse, seconds(60), seconds(60), Stance::Serve),
            (WhenStale::Refuse, seconds(60), seconds(61), Stance::Refuse),
            (WhenStale::Refuse, seconds(60), unknown, Stance::Refuse),
            (WhenStale::RefuseConnections, seconds(60), seconds(61), Stance::RefuseConnections),
            (WhenStale::Serve, seconds(60), seconds(61), Stance::Serve),
        ] {
            let config = Config { stale_after, when_stale, ..config() };
            assert_eq!(stance(&config, age), expect, "{when_stale:?} {stale_after:?} {age:?}");
        }
    }
}
