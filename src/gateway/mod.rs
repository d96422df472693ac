//! The data plane: from a connection to an answer. Its files stand in the order in which a request meets them.
//!
//! [`ingest`] is the straight line itself; everything else here is one step of it, or carries bytes to and from it.
//! The gateway never asks a database or the control plane about a request.

pub mod admission;
mod connection;
pub mod credentials;
pub mod doors;
pub mod ingest;
pub mod listener;
mod opening;
pub mod payload;
pub mod refusal;
mod reports;
pub mod source;
pub mod usage;

use crate::clock::Clock;
use crate::domain::terms::Network;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::sync::current::Current;
use crate::tls;
use admission::Admission;
use reports::Reports;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use usage::Uses;

/// Bounds and addresses of the data plane.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where plain HTTP/1.1 and HTTP/2 are served.
    pub http: SocketAddr,
    /// TLS, when a certificate is configured.
    pub tls: Option<tls::Config>,
    pub connections_max: usize,
    /// For a request's head to arrive whole; an idle kept-alive connection ends after it, too.
    pub header_timeout: Duration,
    /// For a request's body to arrive whole.
    pub body_timeout: Duration,
    pub body_bytes_max: usize,
    pub line_bytes_max: usize,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Memory reserved by all requests together.
    pub in_flight_bytes_max: usize,
    /// For requests begun before a stop to be finished.
    pub drain_timeout: Duration,
}

/// What a request needs to be served; shared by all connections.
pub struct Gate {
    pub config: Config,
    pub directory: Current,
    pub admission: Admission,
    pub journal: Journal,
    pub reports: Reports,
    pub uses: Arc<Uses>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
}

impl Gate {
    pub fn new(
        config: Config,
        directory: Current,
        journal: Journal,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        let admission = Admission::new(config.in_flight_bytes_max, Arc::clone(&metrics));
        for (door, code) in doors::outcomes() {
            metrics.gateway.requests.with_label_values(&[door, code]);
        }
        let (reports, uses) = (Reports::default(), Arc::new(Uses::new(Arc::clone(&metrics))));
        Self { config, directory, admission, journal, reports, uses, metrics, clock }
    }
}
