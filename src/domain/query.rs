//! What somebody looks for in a log: the tree that every way to ask is turned into, and whether a log matches it.

use super::log::{Log, Scalar};

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

/// What is asked of a single value.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// These words, one right after the other, whatever their case: a word is a run of letters and digits. A number matches by
    /// its value, too. Lower case; never empty.
    Phrase(Vec<String>),
    /// It begins with this, or one of its words does, whatever their case. Lower case.
    Prefix(String),
    /// Its text is exactly this.
    Exact(String),
    /// It lies between. Numbers are compared by value, times as instants, everything else as text.
    Range { from: Bound, to: Bound },
    /// It is there and not null.
    Exists,
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    Unbounded,
    Included(String),
    Excluded(String),
}

impl Query {
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
    fn passes(&self, scalar: &Scalar) -> bool {
        match self {
            Self::Exact(text) => scalar.text() == text,
            Self::Exists => *scalar != Scalar::Null,
            Self::Phrase(words) => phrase(words, &scalar.text().to_lowercase()),
            Self::Prefix(prefix) => {
                let text = scalar.text().to_lowercase();
                text.starts_with(prefix) || words_of(&text).any(|word| word.starts_with(prefix))
            }
            Self::Range { .. } => false,
        }
    }
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn phrase(words: &[String], text: &str) -> bool {
    let found: Vec<&str> = words_of(text).collect();
    found.windows(words.len().max(1)).any(|run| run.iter().eq(words))
}
