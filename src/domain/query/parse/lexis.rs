//! What the query language's grammar is made of: words, texts in quotes, and the limits of ranges, their escapes resolved.

use super::{Parsed, Test, Text, fail, fail_here, keyword};
use winnow::Parser;
use winnow::combinator::{alt, opt, peek, repeat};
use winnow::stream::{Location, Stream};
use winnow::token::any;

/// A limit of a range: more may stand in it than in a word.
pub(super) fn limit(text: &mut Text) -> Parsed<Option<String>> {
    if let Some(quoted) = quoted(text)? {
        return Ok(Some(quoted));
    }
    let plain = any.verify(|c: &char| !c.is_whitespace() && !"[]{}()\"\\<>".contains(*c));
    let found: String = repeat(0.., alt((escaped, plain))).parse_next(text)?;
    Ok((!found.is_empty()).then_some(found))
}

/// A text in quotes, if there is one.
pub(super) fn quoted(text: &mut Text) -> Parsed<Option<String>> {
    let at = text.current_token_start();
    if opt('"').parse_next(text)?.is_none() {
        return Ok(None);
    }
    let plain = any.verify(|c| !['"', '\\'].contains(c));
    let content: String = repeat(0.., alt((escaped, plain))).parse_next(text)?;
    if opt('"').parse_next(text)?.is_none() {
        return fail(at, "this quote is never closed");
    }
    match text.peek_token() {
        Some('~') => {
            fail_here(text, "`~` is not supported: all words of a phrase are looked for as they stand")
        }
        Some('^') => fail_here(text, NO_BOOST),
        Some('*') => fail_here(text, "`*` ends a word, and no text in quotes"),
        Some(':') => fail_here(text, "the name of a field is written without quotes: escape with `\\`"),
        _ => Ok(Some(content)),
    }
}

/// A backslash, and the character that it makes an ordinary one.
fn escaped(text: &mut Text) -> Parsed<char> {
    let at = text.current_token_start();
    '\\'.parse_next(text)?;
    match opt(any).parse_next(text)? {
        Some(c) => Ok(c),
        None => fail(at, "a character is missing after this `\\`"),
    }
}

const NO_BOOST: &str =
    "`^` is not supported: logs are in the order of time; to look for it, put the text in quotes";

/// A word without quotes, its escapes resolved.
pub(super) struct Word {
    pub text: String,
    /// Where the star at its end is.
    pub star_at: Option<usize>,
}

impl Word {
    /// Whether it has content and stands for nothing but that.
    pub(super) fn is_plain(&self) -> bool {
        !self.text.is_empty() && self.star_at.is_none()
    }

    /// What a star at its end asks for; `None` without one, or without content.
    pub(super) fn prefix(&self) -> Option<Test> {
        self.star_at.and_then(|_| Test::prefix(&self.text))
    }
}

/// Of a field's value, a colon is a part.
pub(super) fn word(text: &mut Text, is_value: bool) -> Parsed<Word> {
    let begin = text.current_token_start();
    let mut word = Word { text: String::new(), star_at: None };
    if !is_value && opt(peek(alt((keyword("AND"), keyword("OR"), "&&", "||")))).parse_next(text)?.is_some() {
        return Ok(word);
    }
    if is_regular_expression(&text.input) {
        return fail(begin, "regular expressions are not supported; to look for slashes, use quotes");
    }
    loop {
        let at = text.current_token_start();
        if let Some(c) = opt(escaped).parse_next(text)? {
            star_ends(word.star_at)?;
            word.text.push(c);
            continue;
        }
        let operator = opt(peek(alt(("&&", "||")))).parse_next(text)?.is_some();
        let c = match text.peek_token() {
            Some('<' | '>') if at == begin => return Ok(word),
            Some(c) if !operator && goes_on(c, is_value) => c,
            _ => return Ok(word),
        };
        star_ends(word.star_at)?;
        any.parse_next(text)?;
        match c {
            '*' => word.star_at = Some(at),
            '?' => {
                return fail(
                    at,
                    "`?` is not supported as a wildcard; to look for it, write \\? or use quotes",
                );
            }
            '<' | '>' => {
                return fail(
                    at,
                    "write a comparison as field:>5; to look for the sign, put the text in quotes",
                );
            }
            '^' if at > begin && ends_as_number(text) => return fail(at, NO_BOOST),
            '~' if at > begin && ends_as_number(text) => {
                return fail(at, "`~` is not supported; to look for it, write \\~ or put the text in quotes");
            }
            c => word.text.push(c),
        }
    }
}

/// Whether a character may be in a word.
fn goes_on(c: char, is_value: bool) -> bool {
    !c.is_whitespace() && !"()[]{}\"\\".contains(c) && (is_value || c != ':')
}

/// Whether a text begins with slashes around something, as in `/err.*/`; a path such as `/var/log` does not.
fn is_regular_expression(text: &str) -> bool {
    let written = text.split(char::is_whitespace).next().unwrap_or_default().trim_end_matches(')');
    let inner = written.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    inner.is_some_and(|inner| !inner.is_empty() && !inner.ends_with('\\'))
}

/// Refuses what comes after a star within a word.
fn star_ends(star_at: Option<usize>) -> Parsed<()> {
    match star_at {
        None => Ok(()),
        Some(at) => {
            fail(at, "`*` may only end a word, as in err*; to look for a star, write \\* or use quotes")
        }
    }
}

/// Whether the rest of the word is a number or nothing, as it is after a boost.
fn ends_as_number(text: &Text) -> bool {
    let rest: &str = &text.input;
    let end = rest.find(|c: char| !goes_on(c, false)).unwrap_or(rest.len());
    rest[..end].bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}
