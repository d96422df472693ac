//! The one integration test binary: the whole program on real sockets, and the rules of the source tree.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test may panic, and owns its tasks and its time"
)]

mod harness;

mod bulk;
mod crash;
mod credentials;
mod dashboards;
mod ledger;
mod load;
mod planes;
mod program;
mod protocols;
mod reading;
mod reload;
mod replicas;
mod sharing;
mod tidy;
mod tokens;
