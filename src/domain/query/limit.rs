//! The limits of ranges, understood once and then compared with many values.

use super::number::Number;
use crate::domain::log::Scalar;
use crate::domain::moment::{MILLISECONDS_FROM, Moment, NS_OF_MS, NS_OF_SECOND};
use crate::domain::timestamp::instant_ns;
use std::cmp::Ordering;

/// A number, a time or, if it is neither, a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Limit {
    /// Compared with numbers by value, with texts that are numbers too, and with times as milliseconds since the Unix epoch.
    Number(Number),
    /// Compared with instants, written or as numbers.
    Time(Moment),
    /// Compared with texts, letter by letter.
    Text(String),
}

impl Limit {
    /// What a text means; `now` in it is `now_ms`.
    pub fn new(text: &str, now_ms: u64) -> Self {
        let number = Number::parse(text).map(Self::Number);
        let time = || Moment::parse(text, now_ms).map(Self::Time);
        number.or_else(time).unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    /// The same where times are meant: a number is an instant, in seconds or milliseconds, and all of that second or millisecond.
    pub fn of_time(self) -> Self {
        let Self::Number(number) = self else { return self };
        match instant_of(number) {
            Some((first_ns, width_ns)) => Self::Time(Moment { first_ns, last_ns: first_ns + width_ns - 1 }),
            None => self,
        }
    }

    /// The limits of one range: texts both if one of them is.
    pub fn pair(texts: [Option<&str>; 2], now_ms: u64) -> [Option<Self>; 2] {
        let limits = texts.map(|text| text.map(|text| Self::new(text, now_ms)));
        match &limits {
            [Some(Self::Text(_)), _] | [_, Some(Self::Text(_))] => {
                texts.map(|text| text.map(|text| Self::Text(text.to_owned())))
            }
            _ => limits,
        }
    }

    /// Where the value lies, seen from the limit; `None` if the two cannot be compared. All of a date or minute is equal to it.
    pub(super) fn order(&self, scalar: &Scalar) -> Option<Ordering> {
        match (self, scalar) {
            (_, Scalar::Null) => None,
            (Self::Text(limit), scalar) => Some(scalar.text().cmp(limit)),
            (_, Scalar::Bool(_)) => None,
            (Self::Number(limit), scalar) => Some(number_of(scalar.text())?.order(*limit)),
            (Self::Time(limit), scalar) => {
                let text = scalar.text();
                let of_number = || Some(instant_of(Number::parse(text)?)?.0);
                Some(order(instant_ns(text).or_else(of_number)?, limit))
            }
        }
    }
}

/// The instant that a bare number means, in nanoseconds, and how long its unit is: milliseconds since the Unix epoch if it is large, else
/// seconds.
fn instant_of(number: Number) -> Option<(i128, i128)> {
    let float = number.as_f64();
    let unit_ns = if float.abs() >= MILLISECONDS_FROM { NS_OF_MS } else { NS_OF_SECOND };
    let instant_ns = match number {
        Number::Whole(whole) => whole.checked_mul(unit_ns)?,
        Number::Float(_) => (float * unit_ns as f64) as i128,
    };
    // Nothing that far away is a time.
    (float.abs() < 1e20).then_some((instant_ns, unit_ns))
}

fn number_of(text: &str) -> Option<Number> {
    Number::parse(text).or_else(|| instant_ns(text).map(milliseconds))
}

/// Exactly, if they are whole: as floating point, nanoseconds since the Unix epoch are not.
fn milliseconds(ns: i128) -> Number {
    match ns % NS_OF_MS {
        0 => Number::Whole(ns / NS_OF_MS),
        _ => Number::Float(ns as f64 / NS_OF_MS as f64),
    }
}

fn order(instant_ns: i128, moment: &Moment) -> Ordering {
    if instant_ns < moment.first_ns {
        Ordering::Less
    } else if instant_ns > moment.last_ns {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}
