//! The limits of ranges, understood once and then compared with many values.

use super::number::Number;
use crate::domain::log::Scalar;
use crate::domain::moment::{self, Moment};
use crate::domain::timestamp::instant_ns;
use std::cmp::Ordering;

const NS_OF_MS: i128 = 1_000_000;

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
                let of_number = || moment::instant_of_number_ns(Number::parse(text)?.as_f64());
                Some(order(instant_ns(text).or_else(of_number)?, limit))
            }
        }
    }
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
