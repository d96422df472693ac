//! Instants as text: the one format Shipgate writes into logs, RFC 3339 in UTC with milliseconds.

use time::macros::format_description;

/// Renders milliseconds since the Unix epoch as `2026-01-31T23:59:59.123Z`.
///
/// Instants past the year 9999 (no clock shows one) are clamped to it, so that the width never changes.
pub fn rfc3339_millis(unix_ms: u64) -> String {
    const LAST_MS: u64 = 253_402_300_799_999;
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms.min(LAST_MS)) * 1_000_000)
        .ok()
        .and_then(|instant| instant.format(format).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::rfc3339_millis;

    #[test]
    fn renders_utc_with_milliseconds() {
        for (unix_ms, expect) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339_millis(unix_ms), expect, "{unix_ms}");
        }
    }
}
