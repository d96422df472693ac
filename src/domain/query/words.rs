//! Words within texts, found whatever their case and without a copy of the text.
//!
//! A word is a run of letters and digits. Case is Unicode's lower case, letter by letter.

use memchr::memchr2_iter;

/// The words of a text, in order.
pub fn of(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

pub fn lower_case(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Whether `words`, which are lower case, stand in the text one right after the other.
pub(super) fn has_phrase(text: &str, words: &[String]) -> bool {
    let Some(first) = words.first() else { return true };
    begins(text, first).any(|at| {
        let mut found = of(&text[at..]);
        words.iter().all(|word| found.next().is_some_and(|found| rest_after(found, word) == Some("")))
    })
}

/// Whether the text, or the text from the beginning of one of its words on, begins with `prefix`, which is lower case.
pub(super) fn has_prefix(text: &str, prefix: &str) -> bool {
    rest_after(text, prefix).is_some()
        || begins(text, prefix).any(|at| rest_after(&text[at..], prefix).is_some())
}

/// Where words begin that may begin as `wanted` does.
fn begins<'a>(text: &'a str, wanted: &str) -> Box<dyn Iterator<Item = usize> + 'a> {
    let starts = |at: &usize| text[..*at].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
    match wanted.bytes().next() {
        // One that is not ASCII may be another's lower case, but only of another that is not ASCII either.
        Some(byte) if byte.is_ascii() => {
            let found = memchr2_iter(byte, byte.to_ascii_uppercase(), text.as_bytes());
            Box::new(found.filter(move |at| starts(at)))
        }
        _ => {
            let letters = text.char_indices().filter(|(_, c)| !c.is_ascii());
            Box::new(letters.map(|(at, _)| at).filter(move |at| starts(at)))
        }
    }
}

/// What of the text follows `wanted`, if it begins with that.
fn rest_after<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    if wanted.is_ascii() {
        let begin = text.as_bytes().get(..wanted.len())?;
        return begin.eq_ignore_ascii_case(wanted.as_bytes()).then(|| &text[wanted.len()..]);
    }
    let mut wanted = wanted.chars();
    let mut rest = text.chars();
    while let Some(c) = wanted.clone().next() {
        let mut lower = rest.next()?.to_lowercase();
        let same = lower.next() == Some(c) && {
            wanted.next();
            lower.all(|c| wanted.next() == Some(c))
        };
        if !same {
            return None;
        }
    }
    Some(rest.as_str())
}
