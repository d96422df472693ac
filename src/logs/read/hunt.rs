//! Finds the lines that may hold what is needed, by their bytes: most lines are never looked at one by one.
//!
//! What is needed stands in a line as it is, but for two cases, and lines with either are always looked at: a backslash, behind which
//! any letter may hide; and, where a number is wanted, an exponent.

use super::needs::{Need, Wanted};
use crate::domain::query::number::Number;
use memchr::memmem::Finder;
use memchr::{memchr, memchr2};

/// Texts looked for at the same time. For more, every line is read.
const TEXTS_MAX: usize = 8;

/// How often letters and digits stand in logs, the rarest first.
const RARE_FIRST: &[u8; 36] = b"qzjxkvwybfghpmu9786l5d3c4snirtoa0e12";

/// What to look for: one of these texts, at least, is in every line that passes.
pub(super) struct Hunt {
    texts: Vec<Text>,
    with_exponents: bool,
}

enum Text {
    Exact(Box<Finder<'static>>),
    /// ASCII, lower case; which of its bytes to look for first.
    AnyCase {
        text: Vec<u8>,
        rare_at: usize,
    },
}

/// What of `needs` can be found in bytes.
#[derive(Clone, PartialEq)]
enum Clue {
    Nothing,
    OneOf { exact: Vec<String>, any_case: Vec<String>, numbers: bool },
}

impl Hunt {
    /// `None`: every line may pass.
    pub(super) fn of(need: &Need) -> Option<Self> {
        let Clue::OneOf { exact, any_case, numbers } = clue(need) else { return None };
        let exact = exact.iter().map(|text| Text::Exact(Box::new(Finder::new(text).into_owned())));
        let any_case = any_case.iter().map(|text| Text::any_case(text));
        Some(Self { texts: exact.chain(any_case).collect(), with_exponents: numbers })
    }

    /// Shows every line that may pass, with where it begins.
    pub(super) fn lines<'a>(&self, lines: &'a [u8], mut show: impl FnMut(usize, &'a [u8])) {
        let mut next: Vec<usize> = self.texts.iter().map(|text| text.find(lines, 0)).collect();
        let mut escape = find(lines, 0, |rest| memchr(b'\\', rest));
        let exponent_from = |at: usize| if self.with_exponents { exponent(lines, at) } else { usize::MAX };
        let mut exponent = exponent_from(0);
        loop {
            let found = next.iter().copied().min().unwrap_or(usize::MAX).min(escape).min(exponent);
            if found == usize::MAX {
                return;
            }
            let from = memchr::memrchr(b'\n', &lines[..found]).map_or(0, |at| at + 1);
            let to = find(lines, found, |rest| memchr(b'\n', rest)).min(lines.len());
            show(from, &lines[from..to]);
            for (at, text) in next.iter_mut().zip(&self.texts) {
                if *at < to {
                    *at = text.find(lines, to);
                }
            }
            if escape < to {
                escape = find(lines, to, |rest| memchr(b'\\', rest));
            }
            if exponent < to {
                exponent = exponent_from(to);
            }
        }
    }
}

impl Text {
    fn any_case(text: &str) -> Self {
        let text = text.as_bytes();
        if !text.iter().any(u8::is_ascii_alphabetic) {
            return Self::Exact(Box::new(Finder::new(text).into_owned()));
        }
        let rank = |byte: &u8| RARE_FIRST.iter().position(|rare| rare == byte).unwrap_or(RARE_FIRST.len());
        let rare_at = (0..text.len()).min_by_key(|at| rank(&text[*at])).unwrap_or(0);
        Self::AnyCase { text: text.to_owned(), rare_at }
    }

    /// Where it stands next, from a place on; past everything if it does not.
    fn find(&self, lines: &[u8], from: usize) -> usize {
        match self {
            Self::Exact(finder) => find(lines, from, |rest| finder.find(rest)),
            Self::AnyCase { text, rare_at } => {
                let rare = text[*rare_at];
                let mut at = from + rare_at;
                while at < lines.len() {
                    let Some(found) = memchr2(rare, rare.to_ascii_uppercase(), &lines[at..]) else { break };
                    let begin = at + found - rare_at;
                    let there = lines.get(begin..begin + text.len());
                    if there.is_some_and(|there| there.eq_ignore_ascii_case(text)) {
                        return begin;
                    }
                    at += found + 1;
                }
                usize::MAX
            }
        }
    }
}

fn find(lines: &[u8], from: usize, find: impl Fn(&[u8]) -> Option<usize>) -> usize {
    lines.get(from..).and_then(find).map_or(usize::MAX, |at| from + at)
}

/// Where a number with an exponent may stand next: a digit, an `e`, and a digit or a sign.
fn exponent(lines: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = lines.get(at..).and_then(|rest| memchr2(b'e', b'E', rest)) {
        at += found + 1;
        let before = at.checked_sub(2).and_then(|before| lines.get(before));
        let is_exponent = before.is_some_and(u8::is_ascii_digit)
            && lines.get(at).is_some_and(|after| matches!(after, b'0'..=b'9' | b'+' | b'-'));
        if is_exponent && at > from {
            return at - 1;
        }
    }
    usize::MAX
}

fn clue(need: &Need) -> Clue {
    match need {
        Need::Nothing => Clue::Nothing,
        Need::Impossible => Clue::OneOf { exact: vec![], any_case: vec![], numbers: false },
        // Any one of them will do: the one with the longest of its shortest texts.
        Need::All(all) => all.iter().map(clue).max_by_key(Clue::worth).unwrap_or(Clue::Nothing),
        Need::Any(any) => any.iter().map(clue).reduce(Clue::or).unwrap_or(Clue::Nothing),
        Need::Value { value, .. } => value_clue(value),
    }
}

fn value_clue(value: &Wanted) -> Clue {
    let one = |exact: Option<String>, any_case: Option<String>, numbers| {
        let (exact, any_case): (Vec<_>, Vec<_>) =
            (exact.into_iter().collect(), any_case.into_iter().collect());
        if exact.is_empty() && any_case.is_empty() {
            Clue::Nothing
        } else {
            Clue::OneOf { exact, any_case, numbers }
        }
    };
    let ascii = |text: &&String| text.is_ascii() && !text.is_empty();
    match value {
        Wanted::Something => Clue::Nothing,
        Wanted::Exact { text, .. } => one(Some(text.clone()).filter(|text| !text.is_empty()), None, false),
        Wanted::Prefix(prefix) => one(None, Some(prefix).filter(ascii).cloned(), false),
        Wanted::Words(words) => {
            one(None, words.iter().filter(ascii).max_by_key(|word| word.len()).cloned(), false)
        }
        // Written without an exponent, it has these digits in it.
        Wanted::Number { number: Number::Whole(whole), .. } => {
            one(Some(whole.unsigned_abs().to_string()), None, true)
        }
        Wanted::Number { .. } => Clue::Nothing,
    }
}

impl Clue {
    fn worth(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::OneOf { exact, any_case, .. } => {
                let shortest = exact.iter().chain(any_case).map(String::len).min();
                // What needs nothing at all is best: nothing is found.
                shortest.map_or(usize::MAX, |shortest| shortest * TEXTS_MAX / (exact.len() + any_case.len()))
            }
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (
                Self::OneOf { mut exact, mut any_case, numbers },
                Self::OneOf { exact: more_exact, any_case: more_any_case, numbers: more_numbers },
            ) if exact.len() + any_case.len() + more_exact.len() + more_any_case.len() <= TEXTS_MAX => {
                exact.extend(more_exact);
                any_case.extend(more_any_case);
                Self::OneOf { exact, any_case, numbers: numbers || more_numbers }
            }
            _ => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(hunt: &Hunt, lines: &str) -> Vec<usize> {
        let mut shown = vec![];
        hunt.lines(lines.as_bytes(), |from, line| {
            assert!(lines.as_bytes()[from..].starts_with(line));
            shown.push(from);
        });
        shown
    }

    fn words(words: &[&str]) -> Need {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Need::Value { field: None, value: Wanted::Words(words) }
    }

    #[test]
    fn lines_with_the_text_in_any_case_are_shown_once() {
        let hunt = Hunt::of(&words(&["an", "error"])).unwrap();
        let lines = "one\nan ERROR, an error\ntwo\nErroR\nx\\u0065\nerro\nr";
        assert_eq!(shown(&hunt, lines), [4, 27, 33]);
        assert_eq!(shown(&hunt, ""), [0; 0]);
        assert_eq!(shown(&hunt, "error"), [0]);
        assert_eq!(shown(&hunt, "\n\nerror\n\n"), [2]);
    }

    #[test]
    fn numbers_are_found_however_they_are_written() {
        let value = Wanted::Number { number: Number::Whole(500), words: vec!["500".into()] };
        let hunt = Hunt::of(&Need::Value { field: None, value }).unwrap();
        assert_eq!(
            shown(&hunt, "{\"a\":5e2}\n{\"a\":7}\n{\"a\":500.0}\n{\"a\":50E+1}\nthe\n1end"),
            [0, 18, 30]
        );
    }

    #[test]
    fn one_of_several_texts_is_enough_and_too_many_are_none() {
        let any = |count: usize| Need::Any((0..count).map(|n| words(&[&format!("word{n}")])).collect());
        let hunt = Hunt::of(&any(3)).unwrap();
        assert_eq!(shown(&hunt, "word2\nword3\nword0 word1\n"), [0, 12]);
        assert!(Hunt::of(&any(TEXTS_MAX + 1)).is_none());
        assert!(Hunt::of(&Need::Any(vec![words(&["a"]), Need::Nothing])).is_none());
    }
}
