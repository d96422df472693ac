//! What a log must hold to pass: less than the question, but decided without reading the log. It is looked for in the filter of an index, to
//! leave out whole groups of blocks, and in the bytes of lines, to leave out lines.
//!
//! Everything here errs on one side: what may match is looked at. What passes is decided by the sieve alone.

use super::sieve::Sieve;
use crate::domain::filter::{Access, Filter, Operator};
use crate::domain::query::number::Number;
use crate::domain::query::{Query, Test, words};

/// Texts of an index that are in it as a whole, too: addresses, names and the like, of several words or of none.
const WHOLE_BYTES_MAX: usize = 40;

/// Whether an index holds a text of so many words as a whole.
pub(super) fn is_whole(text: &str, words: usize) -> bool {
    words != 1 && text.len() <= WHOLE_BYTES_MAX && Number::parse(text).is_none()
}

/// What must be there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Need {
    /// Nothing that could be looked for.
    Nothing,
    /// No log passes.
    Impossible,
    All(Vec<Need>),
    Any(Vec<Need>),
    /// A value of this field, or of any field.
    Value {
        field: Option<String>,
        value: Wanted,
    },
}

/// What must be there of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    /// These words, lower case.
    Words(Vec<String>),
    /// A number of this value, or a text with these words.
    Number { number: Number, words: Vec<String> },
    /// A word or a text that begins so, lower case.
    Prefix(String),
    /// This text.
    Exact { text: String, words: Vec<String> },
    /// Any.
    Something,
}

impl Need {
    pub(super) fn of(sieve: &Sieve) -> Self {
        Self::all(vec![Self::of_access(&sieve.access), of_query(&sieve.query)])
    }

    /// What every log must hold that may be read.
    pub(super) fn of_access(access: &Access) -> Self {
        match access {
            Access::Everything => Self::Nothing,
            Access::Nothing => Self::Impossible,
            Access::Only(filters) => {
                let needs = filters.filters().iter().map(of_filter).collect();
                match filters.operator() {
                    Operator::And => Self::all(needs),
                    Operator::Or => Self::any(needs),
                }
            }
        }
    }

    fn all(mut needs: Vec<Self>) -> Self {
        needs.retain(|need| *need != Self::Nothing);
        match needs.len() {
            0 => Self::Nothing,
            1 => needs.remove(0),
            _ if needs.contains(&Self::Impossible) => Self::Impossible,
            _ => Self::All(needs),
        }
    }

    fn any(mut needs: Vec<Self>) -> Self {
        needs.retain(|need| *need != Self::Impossible);
        match needs.len() {
            0 => Self::Impossible,
            1 => needs.remove(0),
            _ if needs.contains(&Self::Nothing) => Self::Nothing,
            _ => Self::Any(needs),
        }
    }
}

fn of_query(query: &Query) -> Need {
    match query {
        // What must not be there is not looked for.
        Query::All | Query::Not(_) => Need::Nothing,
        Query::And(all) => Need::all(all.iter().map(of_query).collect()),
        Query::Or(any) => Need::any(any.iter().map(of_query).collect()),
        Query::Value { field, test } => Need::Value { field: field.clone(), value: wanted(test) },
    }
}

fn of_filter(filter: &Filter) -> Need {
    Need::Value { field: Some(filter.field.clone()), value: exact(&filter.value) }
}

fn wanted(test: &Test) -> Wanted {
    match test {
        Test::Phrase(words) => Wanted::Words(words.clone()),
        Test::Number { number, words } => Wanted::Number { number: *number, words: words.clone() },
        Test::Prefix(prefix) => Wanted::Prefix(prefix.clone()),
        Test::Exact(text) => exact(text),
        Test::Range { .. } | Test::Exists => Wanted::Something,
    }
}

fn exact(text: &str) -> Wanted {
    let words = words::of(text).map(words::lower_case).collect();
    Wanted::Exact { text: text.to_owned(), words }
}
