//! Instants as text: the one format Shipgate writes into logs, RFC 3339 in UTC with milliseconds, and what it reads there.

use time::macros::format_description;

/// The end of the year 9999, in milliseconds since the Unix epoch.
pub const LAST_MS: u64 = 253_402_300_799_999;

/// Renders milliseconds since the Unix epoch as `2026-01-31T23:59:59.123Z`.
///
/// Instants past the year 9999 (no clock shows one) are clamped to it, so that the width never changes.
pub fn rfc3339_millis(unix_ms: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms.min(LAST_MS)) * 1_000_000)
        .ok()
        .and_then(|instant| instant.format(format).ok())
        .unwrap_or_default()
}

/// Reads an RFC 3339 instant, with any number of digits behind the second, as milliseconds since the Unix epoch. The offset may lack its
/// colon, as some loggers write it. `None` for anything else; instants before 1970 become 0.
pub fn instant_ms(text: &str) -> Option<u64> {
    let (second, ns) = instant(text)?;
    Some(u64::try_from(second * 1_000 + i64::from(ns / 1_000_000)).unwrap_or(0))
}

/// The same in nanoseconds, instants before 1970 included.
pub fn instant_ns(text: &str) -> Option<i128> {
    let (second, ns) = instant(text)?;
    Some(i128::from(second) * 1_000_000_000 + i128::from(ns))
}

/// Seconds since the Unix epoch, and the nanoseconds that follow them.
fn instant(text: &str) -> Option<(i64, u32)> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        bytes
            .get(from..to)?
            .iter()
            .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks =
        [bytes[4], bytes[7], bytes[13], bytes[16]] == *b"--::" && matches!(bytes[10], b'T' | b't' | b' ');
    let in_range =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let is_date =
        || day <= 28 || day <= days_since_epoch(year, month + 1, 1) - days_since_epoch(year, month, 1);
    if !marks || !in_range || !is_date() {
        return None;
    }
    let (mut ns, mut rest) = (0, &bytes[19..]);
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digit = |at: usize| if at < digits { u32::from(fraction[at] - b'0') } else { 0 };
        ns = (0..9).fold(0, |ns, at| ns * 10 + digit(at));
        rest = (digits > 0).then(|| &fraction[digits..])?;
    }
    let offset_minutes = match *rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            if ![h1, h2, m1, m2].iter().all(u8::is_ascii_digit) {
                return None;
            }
            let two = |tens: u8, ones: u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
            (two(h1, h2) * 60 + two(m1, m2)) * if sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second, ns))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar: years are counted from March, so that leap days end them. Month 13 is the
/// next year's first.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 12 { (year + 1, month - 12) } else { (year, month) };
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::{instant_ms, instant_ns, rfc3339_millis};

    #[test]
    fn reads_what_it_writes_and_what_others_write() {
        for unix_ms in [
            0,
            1,
            951_782_399_999,
            951_782_400_000,
            1_700_000_000_007,
            4_102_444_800_000,
            253_402_300_799_999,
        ] {
            assert_eq!(instant_ms(&rfc3339_millis(unix_ms)), Some(unix_ms));
        }
        for day in 0..60_000 {
            assert_eq!(instant_ms(&rfc3339_millis(day * 86_400_000)), Some(day * 86_400_000));
        }
        for (text, expect) in [
            ("2023-11-14T22:13:20Z", Some(1_700_000_000_000)),
            ("2023-11-14t22:13:20.5z", Some(1_700_000_000_500)),
            ("2023-11-14 23:13:20.0079999+01:00", Some(1_700_000_000_007)),
            ("2023-11-14T16:43:20.007-0530", Some(1_700_000_000_007)),
            ("1969-12-31T23:59:59Z", Some(0)),
            ("2023-11-14T22:13:20", None),
            ("2023-11-14T22:13:20.Z", None),
            ("2023-11-14T22:13:20+1", None),
            ("2023-11-14T22:13:20+aa:bb", None),
            ("2023-13-14T22:13:20Z", None),
            ("2023-02-28T24:00:00Z", None),
            ("2023-02-29T00:00:00Z", None),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
            ("2023-11-31T00:00:00Z", None),
            ("2023-12-31T00:00:00Z", Some(1_703_980_800_000)),
            ("2023-11-14", None),
            ("äöüäöüäöüäöüäöüäöüäöü", None),
            ("", None),
        ] {
            assert_eq!(instant_ms(text), expect, "{text}");
        }
    }

    #[test]
    fn an_instant_has_nanoseconds_and_may_be_before_the_epoch() {
        for (text, expect) in [
            ("2023-11-14T22:13:20.0070000081Z", 1_700_000_000_007_000_008),
            ("1969-12-31T23:59:59.5Z", -500_000_000),
            ("1960-01-01T00:00:00+01:00", -315_622_800_000_000_000),
        ] {
            assert_eq!(instant_ns(text), Some(expect), "{text}");
        }
    }

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
