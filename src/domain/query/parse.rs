//! The query language: what is typed into a search box, turned into a [`Query`].
//!
//! ```text
//! any     = all { ( "OR" | "||" ) all }
//! all     = clause { [ "AND" | "&&" ] clause }
//! clause  = { "NOT" | "!" | "-" | "+" } ( "(" any ")" | field ":" value | term )
//! value   = "(" any ")" | range | ( ">" | ">=" | "<" | "<=" ) limit | "*" | term
//! range   = ( "[" | "{" ) limit "TO" limit ( "]" | "}" )
//! term    = '"' text '"' | word | word "*"
//! ```
//!
//! It is bounded in length and nesting, so that no text costs much. What other dialects have and this one has not, such as
//! wildcards inside a word, is refused where it stands and never taken for something else.

mod lexis;

use super::{Bound, Limit, Query, TESTS_MAX, Test};
use crate::domain::moment::Moment;
use lexis::{Word, limit, quoted, word};
use std::fmt::Display;
use winnow::Parser;
use winnow::ascii::{multispace0, multispace1};
use winnow::combinator::{alt, eof, not, opt, peek, preceded, repeat, terminated};
use winnow::error::{ErrMode, ParserError};
use winnow::stream::{LocatingSlice, Location, Stateful, Stream};
use winnow::token::{any, one_of};

const BYTES_MAX: usize = 4_096;
const GROUPS_MAX: usize = 32;
/// The field that tells a log's time.
const TIME_FIELD: &str = "@timestamp";
const NO_TIME: &str = "this is no time: write one as now-15m, now-1d/d, 2026-01-31 or 2026-01-31T12:00";

/// Why a text is no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct QueryError {
    /// The first is 1; counted in characters.
    pub column: usize,
    pub message: String,
}

/// Parses a text; one without content looks for everything. `now` in its times is `now_ms`.
pub(super) fn parse(text: &str, now_ms: u64) -> Result<Query, QueryError> {
    let failed = |fault: Fault| QueryError {
        column: text.get(..fault.at).unwrap_or(text).chars().count() + 1,
        message: fault.message,
    };
    if text.len() > BYTES_MAX {
        let message = format!("a query has {BYTES_MAX} bytes at most");
        return Err(failed(Fault { at: text.floor_char_boundary(BYTES_MAX), message }));
    }
    if text.trim().is_empty() {
        return Ok(Query::All);
    }
    let state = Around { field: None, groups: 0, terms: 0, now_ms };
    let mut input = Stateful { input: LocatingSlice::new(text), state };
    whole(&mut input).map_err(|error| failed(error.into_inner().unwrap_or_else(|_| Fault::here(&input, ""))))
}

type Text<'a> = Stateful<LocatingSlice<&'a str>, Around>;
type Parsed<T> = Result<T, ErrMode<Fault>>;

/// What stands around the place that is being parsed.
#[derive(Debug, Clone)]
struct Around {
    /// That of `field:(…)`.
    field: Option<String>,
    groups: usize,
    /// Those that came before.
    terms: usize,
    now_ms: u64,
}

#[derive(Debug)]
struct Fault {
    /// In bytes.
    at: usize,
    message: String,
}

impl Fault {
    fn here(text: &Text, message: impl Display) -> Self {
        Self { at: text.current_token_start(), message: message.to_string() }
    }
}

impl ParserError<Text<'_>> for Fault {
    type Inner = Self;

    fn from_input(text: &Text) -> Self {
        Self::here(text, "this is not understood")
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// Fails for good: nothing else is tried.
fn fail<T>(at: usize, message: impl Display) -> Parsed<T> {
    Err(ErrMode::Cut(Fault { at, message: message.to_string() }))
}

fn fail_here<T>(text: &Text, message: impl Display) -> Parsed<T> {
    fail(text.current_token_start(), message)
}

fn whole(text: &mut Text) -> Parsed<Query> {
    let query = alternatives(text)?;
    multispace0(text)?;
    if text.is_empty() { Ok(query) } else { fail_here(text, "this `)` closes nothing") }
}

fn alternatives(text: &mut Text) -> Parsed<Query> {
    let mut found = vec![conjunction(text)?];
    let more: Vec<Query> = repeat(0.., preceded(or, conjunction)).parse_next(text)?;
    found.extend(more);
    Ok(alone(found).unwrap_or_else(Query::Or))
}

fn conjunction(text: &mut Text) -> Parsed<Query> {
    let mut found = vec![clause(text)?];
    let more: Vec<Query> = repeat(0.., preceded(and, clause)).parse_next(text)?;
    found.extend(more);
    Ok(alone(found).unwrap_or_else(Query::And))
}

fn alone(mut queries: Vec<Query>) -> Result<Query, Vec<Query>> {
    match queries.pop() {
        Some(query) if queries.is_empty() => Ok(query),
        last => {
            queries.extend(last);
            Err(queries)
        }
    }
}

fn or(text: &mut Text) -> Parsed<()> {
    (multispace0, alt(("||", keyword("OR")))).void().parse_next(text)
}

/// What stands between two that shall both match: a word for it, or nothing.
fn and(text: &mut Text) -> Parsed<()> {
    let written = alt(("&&", keyword("AND"))).void();
    let nothing = peek(not(alt((")".void(), or, eof.void())))).void();
    (multispace0, alt((written, nothing))).void().parse_next(text)
}

/// A word that stands alone.
fn keyword<'a>(word: &'static str) -> impl Parser<Text<'a>, &'a str, ErrMode<Fault>> {
    terminated(word, peek(alt((multispace1, "(", ")", "\"", eof))))
}

fn clause(text: &mut Text) -> Parsed<Query> {
    multispace0(text)?;
    let negative = alt((terminated(keyword("NOT"), multispace0).void(), one_of(['!', '-']).void()));
    let sign = alt((negative.value(true), '+'.value(false)));
    let negated = repeat(0.., sign).fold(|| false, |negated, sign| negated ^ sign).parse_next(text)?;
    let query = match opt(peek(any)).parse_next(text)? {
        Some('(') => group(text),
        _ => term(text),
    }?;
    Ok(if negated { Query::Not(Box::new(query)) } else { query })
}

fn group(text: &mut Text) -> Parsed<Query> {
    let at = text.current_token_start();
    '('.parse_next(text)?;
    if text.state.groups == GROUPS_MAX {
        return fail(at, format!("there are more than {GROUPS_MAX} groups within one another"));
    }
    text.state.groups += 1;
    let query = alternatives(text)?;
    text.state.groups -= 1;
    multispace0(text)?;
    if opt(')').parse_next(text)?.is_none() {
        return fail(at, "this `(` is never closed");
    }
    Ok(query)
}

fn term(text: &mut Text) -> Parsed<Query> {
    let at = text.current_token_start();
    text.state.terms += 1;
    if text.state.terms > TESTS_MAX {
        return fail(at, format!("there are more than {TESTS_MAX} terms"));
    }
    if opt("*:*").parse_next(text)?.is_some() {
        return Ok(Query::All);
    }
    if text.state.field.is_some() {
        match text.peek_token() {
            Some('[' | '{') => return range(text),
            Some('<' | '>') => return comparison(text),
            _ => {}
        }
    }
    if let Some(quoted) = quoted(text)? {
        return written(text, at, &quoted);
    }
    let word = word(text, false)?;
    if opt(':').parse_next(text)?.is_some() {
        return field(text, at, &word);
    }
    match word.prefix() {
        _ if word.is_plain() => written(text, at, &word.text),
        Some(test) => Ok(value(text, test)),
        None if word.star_at.is_some() => Ok(match text.state.field.clone() {
            Some(_) => value(text, Test::Exists),
            None => Query::All,
        }),
        None => fail(at, no_term(text)),
    }
}

fn value(text: &Text, test: Test) -> Query {
    Query::Value { field: text.state.field.clone(), test }
}

/// What a text asks for. As a field's value a time is all of its day, minute or second; the text itself is found as well.
fn written(text: &Text, at: usize, content: &str) -> Parsed<Query> {
    let words = value(text, Test::words(content));
    let Some(field) = &text.state.field else { return Ok(words) };
    match Moment::parse(content, text.state.now_ms) {
        Some(moment) => {
            let bound = Bound::Included(Limit::Time(moment));
            Ok(Query::Or(vec![value(text, Test::Range { from: bound.clone(), to: bound }), words]))
        }
        None if field == TIME_FIELD && content.starts_with("now") => fail(at, NO_TIME),
        None => Ok(words),
    }
}

/// Why there is no term at this place.
fn no_term(text: &Text) -> &'static str {
    match text.peek_token() {
        Some('[' | '{') => {
            "a range needs a field before it, as in took:[5 TO 10]; to look for the bracket, put the text in quotes"
        }
        Some(']' | '}') => "this bracket closes nothing; to look for it, put the text in quotes",
        Some('<' | '>') => {
            "a comparison needs a field before it, as in took:>5; to look for the sign, put the text in quotes"
        }
        Some(':') => "the name of a field is missing before this `:`",
        _ => "a term is missing here",
    }
}

/// What follows a field's name and its colon.
fn field(text: &mut Text, at: usize, name: &Word) -> Parsed<Query> {
    if let Some(star_at) = name.star_at {
        return fail(star_at, "the name of a field is written in full: it has no wildcards");
    }
    if name.text.is_empty() {
        return fail(at, "the name of a field is missing before this `:`");
    }
    multispace0(text)?;
    let outer = text.state.field.replace(name.text.clone());
    let query = field_value(text, name);
    text.state.field = outer;
    query
}

fn field_value(text: &mut Text, name: &Word) -> Parsed<Query> {
    match text.peek_token() {
        Some('(') => return group(text),
        Some('[' | '{') => return range(text),
        Some('<' | '>') => return comparison(text),
        _ => {}
    }
    let at = text.current_token_start();
    if let Some(quoted) = quoted(text)? {
        return written(text, at, &quoted);
    }
    let word = word(text, true)?;
    match word.prefix() {
        // As older versions of Kibana wrote it.
        _ if name.text == "_exists_" && !word.text.is_empty() => {
            Ok(Query::Value { field: Some(word.text), test: Test::Exists })
        }
        _ if word.is_plain() => written(text, at, &word.text),
        Some(test) => Ok(value(text, test)),
        None if word.star_at.is_some() => Ok(value(text, Test::Exists)),
        None => fail(at, format!("a value is missing after `{}:`", name.text)),
    }
}

fn comparison(text: &mut Text) -> Parsed<Query> {
    let sign = alt((">=", "<=", ">", "<")).parse_next(text)?;
    multispace0(text)?;
    let at = text.current_token_start();
    let limit = match limit(text)? {
        Some(limit) => limit,
        None => return fail_here(text, format!("a value is missing after `{sign}`")),
    };
    times(text, &[(at, &limit)])?;
    let none = Bound::Unbounded;
    let limit = timed(text, Limit::new(&limit, text.state.now_ms));
    let (from, to) = match sign {
        ">=" => (Bound::Included(limit), none),
        ">" => (Bound::Excluded(limit), none),
        "<=" => (none, Bound::Included(limit)),
        _ => (none, Bound::Excluded(limit)),
    };
    Ok(value(text, Test::Range { from, to }))
}

fn range(text: &mut Text) -> Parsed<Query> {
    let at = text.current_token_start();
    let opening = one_of(['[', '{']).parse_next(text)?;
    multispace0(text)?;
    let from_at = text.current_token_start();
    let Some(from) = limit(text)?.filter(|from| from != "TO") else {
        return fail(from_at, "the beginning of the range is missing, as in [5 TO 10]");
    };
    if opt((multispace1, "TO", multispace1)).parse_next(text)?.is_none() {
        return fail_here(text, "`TO` is missing here, as in [5 TO 10]");
    }
    let to_at = text.current_token_start();
    let Some(to) = limit(text)? else {
        return fail_here(text, "the end of the range is missing, as in [5 TO 10]");
    };
    let closing = preceded(multispace0, opt(one_of([']', '}']))).parse_next(text)?;
    let Some(closing) = closing else {
        return fail(at, format!("this `{opening}` is never closed"));
    };
    times(text, &[(from_at, &from), (to_at, &to)])?;
    let bound = |limit: Option<Limit>, included: bool| match limit {
        None => Bound::Unbounded,
        Some(limit) if included => Bound::Included(limit),
        Some(limit) => Bound::Excluded(limit),
    };
    let [from, to] = Limit::pair(
        [from.as_str(), to.as_str()].map(|limit| (limit != "*").then_some(limit)),
        text.state.now_ms,
    )
    .map(|limit| limit.map(|limit| timed(text, limit)));
    Ok(value(text, Test::Range { from: bound(from, opening == '['), to: bound(to, closing == ']') }))
}

/// Refuses limits that are no times where times are meant: of a log's time, and beside date math.
fn times(text: &Text, limits: &[(usize, &str)]) -> Parsed<()> {
    let of_time = text.state.field.as_deref() == Some(TIME_FIELD);
    if !of_time && !limits.iter().any(|(_, limit)| is_date_math(limit)) {
        return Ok(());
    }
    let is_text =
        |limit: &str| limit != "*" && matches!(Limit::new(limit, text.state.now_ms), Limit::Text(_));
    match limits.iter().find(|(_, limit)| is_text(limit)) {
        Some((at, _)) => fail(*at, NO_TIME),
        None => Ok(()),
    }
}

/// A limit of a log's time is one even if it is written as a number.
fn timed(text: &Text, limit: Limit) -> Limit {
    let of_time = text.state.field.as_deref() == Some(TIME_FIELD);
    if of_time { limit.of_time() } else { limit }
}

/// Whether it begins as `now-15m` or `now/d`.
fn is_date_math(limit: &str) -> bool {
    let Some(rest) = limit.strip_prefix("now") else { return false };
    let step = rest.strip_prefix(['+', '-']);
    rest.starts_with('/') || step.is_some_and(|step| step.starts_with(|c: char| c.is_ascii_digit()))
}
