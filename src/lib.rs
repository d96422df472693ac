//! Shipgate, a log ingestion gateway. The modules below stand in reading order; `ARCHITECTURE.md` walks through them.
//!
//! Every batch takes one straight line, and each arrow is a type that only the step before it can make:
//!
//! ```text
//! Request -> Credentials -> Permit -> Slot -> Payload -> Batch -> Receipt -> Response
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test owns its tasks and its time"))]

pub mod config;
pub mod domain;

pub mod gateway;
pub mod journal;
pub mod logs;
pub mod sync;

pub mod wire;

pub mod control;
pub mod store;

pub mod client;
pub mod clock;
pub mod load;
pub mod metrics;
pub mod ops;
pub mod serve;
pub mod shutdown;
pub mod telemetry;
pub mod tls;

#[cfg(test)]
#[path = "../tests/it/harness/postgres.rs"]
mod postgres;
