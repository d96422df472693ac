//! What somebody looks for in a log: the tree that every way to ask is turned into, and whether a log matches it.

pub mod limit;
pub mod number;
pub mod parse;
pub mod words;

use super::log::{Log, Scalar};
use limit::Limit;
use number::Number;
use parse::QueryError;

/// Tests of single values in one question, at most, as in Elasticsearch.
pub const TESTS_MAX: usize = 1_024;

/// A question that a log answers with yes or no.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// Every log.
    All,
    /// All of them; every log if there are none.
    And(Vec<Query>),
    /// One of them at least; no log if there are none.
    Or(Vec<Query>),
    Not(Box<Query>),
    /// A value of the field at this dotted path, or of any field.
    Value {
        field: Option<String>,
        test: Test,
    },
}

/// What is asked of a single value. Nothing asks for the case of a letter but [`Test::Exact`].
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// These words, one right after the other: a word is a run of letters and digits. Lower case; never empty.
    Phrase(Vec<String>),
    /// This number, however it is written; of a text the words that it was asked for with, as of a phrase.
    Number { number: Number, words: Vec<String> },
    /// It begins with this, or from the beginning of one of its words on. Lower case; never empty.
    Prefix(String),
    /// Its text is exactly this.
    Exact(String),
    /// It lies between.
    Range { from: Bound, to: Bound },
    /// It is there and not null.
    Exists,
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    Unbounded,
    Included(Limit),
    Excluded(Limit),
}

impl Query {
    /// Parses what was typed into a search box; an empty text asks for every log. `now` in it is `now_ms`.
    pub fn parse(text: &str, now_ms: u64) -> Result<Self, QueryError> {
        parse::parse(text, now_ms)
    }

    /// How many tests it consists of: what a log may cost, at most.
    pub fn tests(&self) -> usize {
        match self {
            Self::All | Self::Value { .. } => 1,
            Self::And(queries) | Self::Or(queries) => queries.iter().map(Self::tests).sum::<usize>().max(1),
            Self::Not(query) => query.tests(),
        }
    }

    pub fn matches(&self, log: &Log) -> bool {
        match self {
            Self::All => true,
            Self::And(all) => all.iter().all(|query| query.matches(log)),
            Self::Or(any) => any.iter().any(|query| query.matches(log)),
            Self::Not(query) => !query.matches(log),
            Self::Value { field: Some(path), test } => log.any(path, |scalar| test.passes(scalar)),
            Self::Value { field: None, test } => log.any_field(|_, scalar| test.passes(scalar)),
        }
    }
}

impl Test {
    /// Looks for a text as people mean it: for a number by its value, for other texts by their words, and for one without
    /// letters and digits as it stands.
    pub fn words(text: &str) -> Self {
        let words: Vec<String> = words::of(text).map(words::lower_case).collect();
        match Number::parse(text) {
            Some(number) => Self::Number { number, words },
            None if words.is_empty() => Self::Exact(text.to_owned()),
            None => Self::Phrase(words),
        }
    }

    /// Looks for what begins so; `None` if that is nothing.
    pub fn prefix(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::Prefix(words::lower_case(text)))
    }

    pub fn passes(&self, scalar: &Scalar) -> bool {
        match self {
            Self::Exact(text) => scalar.text() == text,
            Self::Exists => *scalar != Scalar::Null,
            Self::Phrase(words) => words::has_phrase(scalar.text(), words),
            Self::Prefix(prefix) => words::has_prefix(scalar.text(), prefix),
            Self::Number { number, words } => match scalar {
                Scalar::Number(text) => Number::parse(text).is_some_and(|found| found == *number),
                _ => words::has_phrase(scalar.text(), words),
            },
            Self::Range { from, to } => {
                let from = match from {
                    Bound::Unbounded => true,
                    Bound::Included(limit) => limit.order(scalar).is_some_and(|order| order.is_ge()),
                    Bound::Excluded(limit) => limit.order(scalar).is_some_and(|order| order.is_gt()),
                };
                from && match to {
                    Bound::Unbounded => *scalar != Scalar::Null,
                    Bound::Included(limit) => limit.order(scalar).is_some_and(|order| order.is_le()),
                    Bound::Excluded(limit) => limit.order(scalar).is_some_and(|order| order.is_lt()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
