//! What the tidy rules look at: the tree's files, and Rust source with its comments, literals and tests told apart.
//!
//! This is a scanner, not a parser. It knows just enough of Rust's tokens never to take a comment or a literal for code.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file. `code` has the same lines as the file, with comments and the insides of literals blanked and everything
/// under `#[cfg(test)]` removed.
pub struct Source {
    /// Relative to the package, with `/`.
    pub path: String,
    pub text: String,
    pub code: String,
    /// String literals outside tests, with the line they begin on.
    pub strings: Vec<(usize, String)>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let (blanked, mut strings) = blank(text);
        let tests = test_lines(&blanked);
        let code = blanked
            .lines()
            .enumerate()
            .map(|(at, line)| if tests.contains(&(at + 1)) { "" } else { line })
            .collect::<Vec<_>>()
            .join("\n");
        strings.retain(|(line, _)| !tests.contains(line));
        Self { path: path.to_owned(), text: text.to_owned(), code, strings }
    }

    /// A file that holds nothing but tests and what they need.
    pub fn is_tests(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.ends_with("/fake.rs")
            || self.path.contains("/tests/")
            || self.path.starts_with("tests/")
    }

    /// Path of modules: `src/gateway/doors/bulk.rs` is `[gateway, doors, bulk]`.
    pub fn modules(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        path.split('/').filter(|part| !["mod", "lib"].contains(part)).collect()
    }

    /// What was found at this offset of `code`.
    pub fn finding(&self, at: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{}: {what}", self.path, line_of(&self.code, at))
    }

    /// Lines that are not tests.
    pub fn lines_without_tests(&self) -> usize {
        let (blanked, _) = blank(&self.text);
        self.text.lines().count() - test_lines(&blanked).len()
    }
}

/// The line of an offset, counted from 1.
pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Where the package lies.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the package a person wrote, relative, sorted. Skipped: what is hidden, built, installed or is data.
pub fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let skipped = ["target", "data", "node_modules", "__pycache__", "Cargo.lock"];
            if name.starts_with('.') || skipped.contains(&name.as_str()) {
                continue;
            }
            match path.is_dir() {
                true => open.push(path),
                false => found.push(relative(&path)),
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root()).unwrap().into();
    path.to_string_lossy().replace('\\', "/")
}

/// Blanks comments and the insides of literals; returns the string literals too.
fn blank(text: &str) -> (String, Vec<(usize, String)>) {
    let mut out = String::with_capacity(text.len());
    let mut strings = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let before = out.chars().next_back().unwrap_or(' ');
        let (length, kind) = token(rest, before);
        let piece = &rest[..length];
        match kind {
            Kind::Code => out.push(first),
            Kind::Hidden => out.extend(blanks(piece)),
            Kind::Text => {
                strings.push((line, piece.trim_matches(['b', 'r', '#', '"']).to_owned()));
                out.extend(blanks(piece));
            }
        }
        line += piece.matches('\n').count();
        rest = &rest[length..];
    }
    (out, strings)
}

fn blanks(piece: &str) -> impl Iterator<Item = char> + '_ {
    piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' })
}

enum Kind {
    Code,
    Hidden,
    Text,
}

/// The length in bytes of what `rest` begins with. Code is taken one character at a time.
fn token(rest: &str, before: char) -> (usize, Kind) {
    let starts_word = !before.is_alphanumeric() && before != '_';
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), Kind::Hidden);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), Kind::Hidden);
    }
    let prefix = if starts_word { ["br", "b", "r"].iter().find(|p| rest.starts_with(*p)) } else { None };
    let after = prefix.map_or(rest, |prefix| &rest[prefix.len()..]);
    let skipped = rest.len() - after.len();
    let hashes = after.len() - after.trim_start_matches('#').len();
    if prefix.is_some_and(|p| p.ends_with('r')) && after[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = &after[hashes + 1..];
        let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        return (skipped + hashes + 1 + length, Kind::Text);
    }
    if after.starts_with('"') {
        return (skipped + quoted(after, '"'), Kind::Text);
    }
    if after.starts_with('\'') && is_char_literal(after) {
        return (skipped + quoted(after, '\''), Kind::Hidden);
    }
    (rest.chars().next().map_or(0, char::len_utf8), Kind::Code)
}

/// `'x'` and `'\n'`, but not the lifetime `'x`.
fn is_char_literal(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    matches!((chars.next(), chars.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The lines of items under `#[cfg(test)]`, counted from 1.
fn test_lines(code: &str) -> std::collections::BTreeSet<usize> {
    let mut lines = std::collections::BTreeSet::new();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let end = start + item_end(&code[start..]);
        lines.extend(line_of(code, start)..=line_of(code, end));
    }
    lines
}

/// Where the item that `code` begins with ends: at its `;`, or at the brace that closes its first brace. Brackets and
/// parentheses may hold either.
pub fn item_end(code: &str) -> usize {
    let mut nested = 0;
    let mut braces = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested -= 1,
            ';' if nested == 0 && braces == 0 => return at,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 && nested == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    code.len()
}
