//! Numbers as they are written, compared by what they are worth.

use std::cmp::Ordering;

/// A number: whole ones up to 38 digits exactly, all others as floating point.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    /// `None` if the text is no decimal number, which may have an exponent.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        if let Ok(whole) = text.parse() {
            return Some(Self::Whole(whole));
        }
        // All that begins with a digit and parses is a decimal number.
        text.parse().ok().map(Self::Float)
    }

    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Float(float) => float,
        }
    }

    pub fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => one.cmp(&other),
            // Neither is ever "not a number": no digits parse to that.
            (one, other) => one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.order(*other).is_eq()
    }
}

impl Eq for Number {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        use Ordering::{Equal, Greater, Less};
        for (one, other, expect) in [
            ("5", "5", Equal),
            ("5", "5.0", Equal),
            ("500", "5e2", Equal),
            ("-0", "0", Equal),
            ("9", "10", Less),
            ("-9", "-10", Greater),
            ("1.5", "1", Greater),
            ("9007199254740993", "9007199254740992", Greater),
            ("18446744073709551616", "18446744073709551615", Greater),
            ("1e999", "1", Greater),
        ] {
            let parse = |text| Number::parse(text).unwrap();
            assert_eq!(parse(one).order(parse(other)), expect, "{one} {other}");
            assert_eq!(parse(other).order(parse(one)), expect.reverse(), "{other} {one}");
        }
    }

    #[test]
    fn other_texts_are_no_numbers() {
        for text in
            ["", "-", "a", "1a", "1.2.3", "nan", "inf", "-inf", ".5", "+5", "0x10", "1_000", "1e", "é"]
        {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }
}
