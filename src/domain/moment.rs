//! Points in time as people write them into questions: RFC 3339, a date alone, `now`, `now-15m`, `now/d`.

use super::timestamp::instant_ns;
use std::str::FromStr;

pub const NS_OF_MS: i128 = 1_000_000;
pub const NS_OF_SECOND: i128 = 1_000 * NS_OF_MS;
/// The epoch began on a Thursday, weeks begin on Mondays.
const MONDAY_NS: i128 = 4 * 24 * 3_600 * NS_OF_SECOND;
/// From here on a bare number counts milliseconds, below it seconds: in seconds it is the year 5138, in milliseconds 1973.
pub const MILLISECONDS_FROM: f64 = 1e11;

/// All of what a text names, in nanoseconds since the Unix epoch: of a date the whole day, of `12:30` the whole minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub first_ns: i128,
    pub last_ns: i128,
}

impl Moment {
    /// `None` if the text names no time. `now` is `now_ms`; without an offset a time is in UTC.
    pub fn parse(text: &str, now_ms: u64) -> Option<Self> {
        match text.strip_prefix("now") {
            Some(rest) => from_now(rest, i128::from(now_ms) * NS_OF_MS),
            None => written(text),
        }
    }

    /// The millisecond since the Unix epoch that it begins in; 0 of what was before.
    pub fn first_ms(self) -> u64 {
        u64::try_from(self.first_ns.max(0) / NS_OF_MS).unwrap_or(u64::MAX)
    }

    /// The millisecond since the Unix epoch that it ends in; 0 of what was before.
    pub fn last_ms(self) -> u64 {
        u64::try_from(self.last_ns.max(0) / NS_OF_MS).unwrap_or(u64::MAX)
    }
}

/// How a time is written that [`instant_ms`] takes.
pub const WRITTEN: &str = "use RFC 3339, a date, milliseconds since the Unix epoch, now, or as in now-15m";

/// The millisecond since the Unix epoch that a text names, or in which what it names begins.
pub fn instant_ms(text: &str, now_ms: u64) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| Moment::parse(text, now_ms).map(Moment::first_ms))
}

/// `15m`, `30s`, `1h`, `7d`, `2w`, `250ms` or a number of milliseconds; never 0.
pub fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "ms" => 1,
        unit => u64::try_from(unit_ns(unit)? / NS_OF_MS).ok()?,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|ms| *ms > 0)
}

fn unit_ns(unit: &str) -> Option<i128> {
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" | "H" => 3_600,
        "d" => 24 * 3_600,
        "w" => 7 * 24 * 3_600,
        _ => return None,
    };
    Some(seconds * NS_OF_SECOND)
}

/// What follows `now`: steps such as `-15m` and `+1h`, and `/d` for all of the day that it then is.
fn from_now(mut rest: &str, mut at_ns: i128) -> Option<Moment> {
    let mut last_ns = at_ns;
    while let Some(sign) = rest.chars().next() {
        rest = &rest[sign.len_utf8()..];
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(digits);
        let unit_length = unit.chars().next()?.len_utf8();
        let step_ns = unit_ns(&unit[..unit_length])?;
        rest = &unit[unit_length..];
        let width_ns = match sign {
            '-' => {
                at_ns = at_ns.checked_sub(step_ns.checked_mul(i128::from_str(number).ok()?)?)?;
                1
            }
            '+' => {
                at_ns = at_ns.checked_add(step_ns.checked_mul(i128::from_str(number).ok()?)?)?;
                1
            }
            '/' if number.is_empty() => {
                let begin_ns = if &unit[..unit_length] == "w" { MONDAY_NS } else { 0 };
                at_ns -= at_ns.checked_sub(begin_ns)?.rem_euclid(step_ns);
                step_ns
            }
            _ => return None,
        };
        last_ns = at_ns.checked_add(width_ns - 1)?;
    }
    Some(Moment { first_ns: at_ns, last_ns })
}

fn written(text: &str) -> Option<Moment> {
    if !text.is_ascii() || text.len() < 10 || text.as_bytes()[4] != b'-' {
        return None;
    }
    let (date, rest) = text.split_at(10);
    let clock = match rest.bytes().next() {
        None => return whole(&format!("{date}T00:00:00Z"), 24 * 3_600 * NS_OF_SECOND),
        Some(b'T' | b't' | b' ') => &rest[1..],
        Some(_) => return None,
    };
    let zone_at = clock.find(['Z', 'z', '+', '-']).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(zone_at);
    let zone = if zone.is_empty() { "Z" } else { zone };
    let width_ns = match clock.len() {
        5 => return whole(&format!("{date}T{clock}:00{zone}"), 60 * NS_OF_SECOND),
        8 => NS_OF_SECOND,
        10..=18 => 10_i128.pow(18 - clock.len() as u32),
        _ => 1,
    };
    whole(&format!("{date}T{clock}{zone}"), width_ns)
}

fn whole(text: &str, width_ns: i128) -> Option<Moment> {
    let first_ns = instant_ns(text)?;
    Some(Moment { first_ns, last_ns: first_ns + width_ns - 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-01-31T12:34:56.789Z, a Saturday.
    const NOW_MS: u64 = 1_769_862_896_789;

    fn at(text: &str) -> i128 {
        instant_ns(text).unwrap()
    }

    #[test]
    fn a_text_names_all_of_a_moment() {
        for (text, first, last) in [
            ("2026-01-31T12:34:56.789Z", "2026-01-31T12:34:56.789Z", "2026-01-31T12:34:56.789999999Z"),
            ("2026-01-31T12:34:56Z", "2026-01-31T12:34:56Z", "2026-01-31T12:34:56.999999999Z"),
            ("2026-01-31T13:34:56+01:00", "2026-01-31T12:34:56Z", "2026-01-31T12:34:56.999999999Z"),
            ("2026-01-31 12:34", "2026-01-31T12:34:00Z", "2026-01-31T12:34:59.999999999Z"),
            ("2026-01-31T12:34-01:00", "2026-01-31T13:34:00Z", "2026-01-31T13:34:59.999999999Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z", "2026-01-31T23:59:59.999999999Z"),
            ("now", "2026-01-31T12:34:56.789Z", "2026-01-31T12:34:56.789Z"),
            ("now-15m", "2026-01-31T12:19:56.789Z", "2026-01-31T12:19:56.789Z"),
            ("now-1d+1h", "2026-01-30T13:34:56.789Z", "2026-01-30T13:34:56.789Z"),
            ("now/d", "2026-01-31T00:00:00Z", "2026-01-31T23:59:59.999999999Z"),
            ("now/w", "2026-01-26T00:00:00Z", "2026-02-01T23:59:59.999999999Z"),
            ("now-1d/d", "2026-01-30T00:00:00Z", "2026-01-30T23:59:59.999999999Z"),
        ] {
            let expect = Moment { first_ns: at(first), last_ns: at(last) };
            assert_eq!(Moment::parse(text, NOW_MS), Some(expect), "{text}");
        }
    }

    #[test]
    fn other_texts_name_none() {
        for text in [
            "",
            "5",
            "2026",
            "nowhere",
            "now-",
            "now-m",
            "now-1",
            "now-1y",
            "now 1h",
            "now/2d",
            "now/",
            "2026-13-01",
            "2026-01-32",
            "2026-01-31T",
            "2026-01-31T25:00:00Z",
            "2026-01-31x",
            "tomorrow",
            "now-99999999999999999999999999999999999999999d",
            "2026-01-3\u{661}",
            "now-1é",
        ] {
            assert_eq!(Moment::parse(text, NOW_MS), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expect) in [
            ("250", Some(250)),
            ("250ms", Some(250)),
            ("30s", Some(30_000)),
            ("1m", Some(60_000)),
            ("2w", Some(1_209_600_000)),
            ("0s", None),
            ("", None),
            ("s", None),
            ("1y", None),
            ("-1m", None),
            ("99999999999999999w", None),
        ] {
            assert_eq!(milliseconds(text), expect, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(now|2026-01-31)?[-+/T 0-9:.Zsmhdwé]{0,20}", now_ms: u64) {
            let _ = (Moment::parse(&text, now_ms), milliseconds(&text), instant_ns(&text));
        }
    }
}
