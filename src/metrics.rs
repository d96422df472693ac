//! What operators see: every series of Shipgate, made once at start so that each exists from the first scrape.
//!
//! Names follow Prometheus: base units, `_total` on counters. Labels are bounded: per-account series stop at
//! [`ACCOUNTS_MAX`] accounts and then add up under `other`; nothing is ever labelled by a token.

mod accounts;
mod maker;

pub use accounts::{ACCOUNTS_MAX, AccountCounters};

use crate::domain::account::AccountId;
use crate::domain::batch::LineFault;
use accounts::Accounts;
use maker::{Maker, register};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Every series, by the module that moves it.
pub struct Metrics {
    registry: Registry,
    pub gateway: GatewayMetrics,
    pub directory: DirectoryMetrics,
    pub journal: JournalMetrics,
    pub logs: LogsMetrics,
    pub objects: ObjectsMetrics,
    pub search: SearchMetrics,
    pub control: ControlMetrics,
}

/// Requests, from the connection to the answer.
pub struct GatewayMetrics {
    pub connections: IntGauge,
    pub connections_resting: IntGauge,
    pub connections_refused: IntCounter,
    pub requests: IntCounterVec,
    pub request_seconds: Histogram,
    pub auth: IntCounterVec,
    pub in_flight_bytes: IntGauge,
    pub discarded_lines: IntCounterVec,
    pub would_refuse_requests: IntCounter,
    pub would_refuse_lines: IntCounter,
    pub tls_handshake_failures: IntCounter,
    pub certificate_expiry_seconds: IntGauge,
    pub usage_dropped: IntCounter,
    accounts: Accounts,
}

/// The directory of tokens and how fresh it is.
pub struct DirectoryMetrics {
    pub revision: IntGauge,
    pub age_seconds: IntGauge,
    pub tokens: IntGauge,
    pub propagation_seconds: Histogram,
    pub failures: IntCounter,
    pub control_connected: IntGauge,
}

/// The write-ahead log.
pub struct JournalMetrics {
    pub group_batches: Histogram,
    pub fsync_seconds: Histogram,
    pub queue_bytes: IntGauge,
    pub disk_bytes: IntGauge,
    pub segments: IntGauge,
    pub written_bytes: IntCounter,
    pub failures: IntCounterVec,
    pub torn_bytes: IntCounter,
    pub corrupt_entries: IntCounter,
}

/// The accounts' own logs.
pub struct LogsMetrics {
    pub appended_bytes: IntCounter,
    pub sealed_files: IntCounter,
    pub expired_files: IntCounter,
    pub damaged_files: IntCounter,
    pub failures: IntCounterVec,
    pub open_files: IntGauge,
    pub disk_bytes: IntGauge,
    pub disk_free_bytes: IntGauge,
    pub checkpoint_seconds: Histogram,
    pub backlog_bytes: IntGauge,
}

/// The object store of sealed log files.
pub struct ObjectsMetrics {
    pub stored_files: IntCounter,
    pub stored_bytes: IntCounter,
    pub expired_files: IntCounter,
    pub let_go_files: IntCounter,
    pub waiting_bytes: IntGauge,
    pub read_bytes: IntCounter,
    pub failures: IntCounterVec,
}

/// Questions put to the accounts' logs.
pub struct SearchMetrics {
    pub questions: IntCounterVec,
    pub seconds: Histogram,
    pub scanned_bytes: IntCounter,
    pub skipped_bytes: IntCounter,
    pub tails: IntGauge,
}

/// The API.
pub struct ControlMetrics {
    pub requests: IntCounterVec,
    pub request_seconds: HistogramVec,
    pub auth_failures: IntCounter,
    pub gateways_connected: IntGauge,
    pub certificate_expiry_seconds: IntGauge,
}

impl Metrics {
    #[expect(clippy::new_without_default, reason = "making every series is an act, not a default")]
    pub fn new() -> Self {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        register(&registry, prometheus::process_collector::ProcessCollector::for_self());
        let make = Maker(&registry);
        Self {
            gateway: GatewayMetrics::new(&make),
            directory: DirectoryMetrics::new(&make),
            journal: JournalMetrics::new(&make),
            logs: LogsMetrics::new(&make),
            objects: ObjectsMetrics::new(&make),
            search: SearchMetrics::new(&make),
            control: ControlMetrics::new(&make),
            registry,
        }
    }

    /// All series in Prometheus' text format.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

impl GatewayMetrics {
    fn new(make: &Maker<'_>) -> Self {
        Self {
            connections: make.gauge("shipgate_gateway_connections", "Open connections."),
            connections_resting: make.gauge(
                "shipgate_gateway_connections_resting",
                "Open connections that say nothing and hold no buffers.",
            ),
            connections_refused: make.counter(
                "shipgate_gateway_connections_refused_total",
                "Connections closed at once, for want of room or because the directory is too old.",
            ),
            requests: make.counters(
                "shipgate_gateway_requests_total",
                "Requests answered, by door and by outcome.",
                &["door", "code"],
            ),
            request_seconds: make.histogram(
                "shipgate_gateway_request_duration_seconds",
                "From the request's head to its answer.",
                SECONDS,
            ),
            auth: make.counters_of(
                "shipgate_gateway_auth_total",
                "Decisions on shipping tokens.",
                "result",
                &["admitted", "missing", "not_valid", "revoked_during_upload", "scope_door", "scope_source"],
            ),
            in_flight_bytes: make
                .gauge("shipgate_gateway_in_flight_bytes", "Bytes reserved by requests not answered yet."),
            discarded_lines: make.counters_of(
                "shipgate_gateway_discarded_lines_total",
                "Lines refused, by reason.",
                "reason",
                &LineFault::ALL.map(LineFault::code),
            ),
            would_refuse_requests: make.counter(
                "shipgate_gateway_would_refuse_requests_total",
                "Accepted requests with tokens in a dry run, which disabling them would have refused.",
            ),
            would_refuse_lines: make
                .counter("shipgate_gateway_would_refuse_lines_total", "Accepted lines of those requests."),
            tls_handshake_failures: make.counter(
                "shipgate_gateway_tls_handshake_failures_total",
                "TLS handshakes that did not complete.",
            ),
            certificate_expiry_seconds: make.gauge(
                "shipgate_gateway_certificate_expiry_timestamp_seconds",
                "When the TLS certificate in use expires, Unix time; 0 without TLS.",
            ),
            usage_dropped: make.counter(
                "shipgate_gateway_usage_dropped_total",
                "Requests that are not in the ledger of token use: too many different tokens came at once, or the control plane did not take it.",
            ),
            accounts: Accounts::new(make),
        }
    }

    /// Lines acknowledged so far, of all accounts.
    pub fn accepted_lines(&self) -> u64 {
        let known: u64 = self.accounts.known.iter().map(|account| account.accepted_lines.get()).sum();
        known + self.accounts.other.accepted_lines.get()
    }

    /// The counters of `account`, or those of `other` once too many accounts have their own.
    pub fn account(&self, account: AccountId) -> AccountCounters {
        self.accounts.get(account)
    }
}

impl DirectoryMetrics {
    fn new(make: &Maker<'_>) -> Self {
        Self {
            revision: make.gauge("shipgate_directory_revision", "Revision of the directory in force."),
            age_seconds: make.gauge(
                "shipgate_directory_age_seconds",
                "Since the control plane, or the file of tokens, last confirmed the directory.",
            ),
            tokens: make.gauge("shipgate_directory_tokens", "Enabled shipping tokens."),
            propagation_seconds: make.histogram(
                "shipgate_directory_propagation_seconds",
                "From the commit of a change in the control plane to its being in force here.",
                SECONDS,
            ),
            failures: make.counter(
                "shipgate_directory_failures_total",
                "Times the directory's stream failed and was begun anew, or the file of tokens could not be taken.",
            ),
            control_connected: make
                .gauge("shipgate_control_connected", "1 while the directory's stream is open."),
        }
    }
}

impl JournalMetrics {
    fn new(make: &Maker<'_>) -> Self {
        Self {
            group_batches: make.histogram(
                "shipgate_journal_group_batches",
                "Batches made durable together.",
                COUNTS,
            ),
            fsync_seconds: make.histogram(
                "shipgate_journal_fsync_duration_seconds",
                "One fdatasync.",
                SECONDS,
            ),
            queue_bytes: make
                .gauge("shipgate_journal_queue_bytes", "Bytes of batches waiting to be written."),
            disk_bytes: make.gauge("shipgate_journal_disk_bytes", "Size of the journal's segments."),
            segments: make.gauge("shipgate_journal_segments", "Segments of the journal."),
            written_bytes: make.counter("shipgate_journal_written_bytes_total", "Bytes made durable."),
            failures: make.counters_of(
                "shipgate_journal_failures_total",
                "Groups of batches refused because they could not be made durable.",
                "reason",
                &["busy", "full", "io", "journal_full", "sync"],
            ),
            torn_bytes: make.counter(
                "shipgate_journal_torn_bytes_total",
                "Bytes cut off at recovery: written, never acknowledged.",
            ),
            corrupt_entries: make.counter(
                "shipgate_journal_corrupt_entries_total",
                "Places found damaged in data that had been acknowledged.",
            ),
        }
    }
}

impl LogsMetrics {
    fn new(make: &Maker<'_>) -> Self {
        Self {
            appended_bytes: make
                .counter("shipgate_logs_appended_bytes_total", "Bytes appended to accounts' logs."),
            sealed_files: make.counter("shipgate_logs_sealed_files_total", "Log files sealed."),
            expired_files: make
                .counter("shipgate_logs_expired_files_total", "Log files dropped by retention."),
            damaged_files: make.counter(
                "shipgate_logs_damaged_files_total",
                "Log files found damaged, missing or unusable; what is left is kept aside, all that is readable rescued.",
            ),
            failures: make.counters_of(
                "shipgate_logs_failures_total",
                "Operations on accounts' logs that failed and are tried again.",
                "operation",
                &["append", "checkpoint", "seal", "retain", "let_go"],
            ),
            open_files: make.gauge("shipgate_logs_open_files", "Growing log files held open."),
            disk_bytes: make.gauge("shipgate_logs_disk_bytes", "Size of all accounts' log files."),
            disk_free_bytes: make
                .gauge("shipgate_logs_disk_free_bytes", "Free space where the data is kept."),
            checkpoint_seconds: make.histogram(
                "shipgate_logs_checkpoint_duration_seconds",
                "One checkpoint of all growing files.",
                SECONDS,
            ),
            backlog_bytes: make
                .gauge("shipgate_logs_backlog_bytes", "Journalled bytes not yet in an account's log."),
        }
    }
}

impl ObjectsMetrics {
    fn new(make: &Maker<'_>) -> Self {
        Self {
            stored_files: make
                .counter("shipgate_objects_stored_files_total", "Sealed log files put into the object store."),
            stored_bytes: make.counter(
                "shipgate_objects_stored_bytes_total",
                "Bytes put into the object store, indexes included.",
            ),
            expired_files: make.counter(
                "shipgate_objects_expired_files_total",
                "Log files in the object store dropped by retention.",
            ),
            let_go_files: make.counter(
                "shipgate_objects_let_go_files_total",
                "Log files removed from the local disk because the object store has them.",
            ),
            waiting_bytes: make.gauge(
                "shipgate_objects_waiting_bytes",
                "Bytes of sealed log files that are not known to be in the object store yet.",
            ),
            read_bytes: make
                .counter("shipgate_objects_read_bytes_total", "Bytes read from the object store."),
            failures: make.counters_of(
                "shipgate_objects_failures_total",
                "Requests that the object store refused or did not answer, and local files that could not be read for it.",
                "operation",
                &["put", "list", "read", "delete", "local"],
            ),
        }
    }
}

impl SearchMetrics {
    fn new(make: &Maker<'_>) -> Self {
        Self {
            questions: make.counters_of(
                "shipgate_search_questions_total",
                "Questions put to accounts' logs: answered in whole, in part because their time was over, failed, or refused because too many were under way.",
                "outcome",
                &["whole", "partial", "failed", "refused"],
            ),
            seconds: make.histogram(
                "shipgate_search_duration_seconds",
                "From a question to its answer.",
                SECONDS,
            ),
            scanned_bytes: make
                .counter("shipgate_search_scanned_bytes_total", "Bytes of lines looked through."),
            skipped_bytes: make.counter(
                "shipgate_search_skipped_bytes_total",
                "Bytes of log files, compressed, that an index told not to look through.",
            ),
            tails: make.gauge("shipgate_search_tails", "Readers that follow an account's log as it grows."),
        }
    }
}

impl ControlMetrics {
    fn new(make: &Maker<'_>) -> Self {
        Self {
            requests: make.counters(
                "shipgate_control_requests_total",
                "API requests answered, by route and status.",
                &["route", "status"],
            ),
            request_seconds: make.histograms(
                "shipgate_control_request_duration_seconds",
                "From an API request's head to its answer.",
                SECONDS,
                &["route"],
            ),
            auth_failures: make.counter(
                "shipgate_control_auth_failures_total",
                "API requests refused because their API token or gateway credential was missing or wrong.",
            ),
            gateways_connected: make
                .gauge("shipgate_control_gateways", "Gateways reading the directory's stream."),
            certificate_expiry_seconds: make.gauge(
                "shipgate_control_certificate_expiry_timestamp_seconds",
                "When the API's TLS certificate in use expires, Unix time; 0 without TLS.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_beyond_the_cap_add_up_under_other() {
        let metrics = Metrics::new();
        for account in 0..ACCOUNTS_MAX as u32 + 10 {
            metrics.gateway.account(AccountId(account)).accepted_lines.inc();
        }
        assert_eq!(metrics.gateway.account(AccountId(u32::MAX)).accepted_lines.get(), 10);
        assert!(metrics.render().contains(r#"shipgate_gateway_accepted_lines_total{account="other"} 10"#));
    }
}
