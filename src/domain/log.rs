//! A log as a reader sees it: one stored line, and the values of its fields.

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Objects and arrays within one another that are looked into.
const DEPTH_MAX: usize = 64;
/// Most paths are shorter.
const PATH_BYTES: usize = 64;

/// One line, parsed as far as its topmost fields; what is inside them is looked at when it is asked for.
pub struct Log<'a> {
    line: &'a [u8],
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// A value that is no object and no array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// A string, its escapes resolved.
    Text(Cow<'a, str>),
    /// A number, as it is written.
    Number(&'a str),
    Bool(bool),
    Null,
}

impl Scalar<'_> {
    /// A string's content; any other value's JSON text.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number(text) => text,
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Null => "null",
        }
    }
}

impl<'a> Log<'a> {
    /// `None` if the line is not a JSON object.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        // UTF-8 is judged once and fast, rather than by each value.
        let text = simdutf8::basic::from_utf8(line).ok()?;
        Some(Self { line, fields: fields_of(text)? })
    }

    /// The line as it is stored, without its line end.
    pub fn line(&self) -> &'a [u8] {
        self.line
    }

    /// Whether a value of the field at the dotted `path` passes `test`. A path is looked up in objects within objects and in
    /// names that have dots in them; of an array each element is a value.
    pub fn any(&self, path: &str, mut test: impl FnMut(&Scalar) -> bool) -> bool {
        self.fields.iter().any(|(name, value)| under(name, value, path, &mut test, DEPTH_MAX))
    }

    /// Whether any value of any field passes `test`, which is told the field's dotted path.
    pub fn any_field(&self, mut test: impl FnMut(&str, &Scalar) -> bool) -> bool {
        let mut path = String::with_capacity(PATH_BYTES);
        self.fields.iter().any(|(name, value)| within(name, value, &mut path, &mut test, DEPTH_MAX))
    }
}

/// Looks for the rest of a path at a field.
fn under(
    name: &str,
    value: &RawValue,
    path: &str,
    test: &mut impl FnMut(&Scalar) -> bool,
    depth: usize,
) -> bool {
    let Some(rest) = path.strip_prefix(name) else { return false };
    if rest.is_empty() {
        return elements(value, test, depth);
    }
    let Some(rest) = rest.strip_prefix('.') else { return false };
    inside(value, rest, test, depth)
}

/// Looks for a path in an object, or in the objects of an array.
fn inside(value: &RawValue, path: &str, test: &mut impl FnMut(&Scalar) -> bool, depth: usize) -> bool {
    if depth == 0 {
        return false;
    }
    match value.get().as_bytes().first() {
        Some(b'{') => fields(value).iter().any(|(name, value)| under(name, value, path, test, depth - 1)),
        Some(b'[') => items(value).iter().any(|value| inside(value, path, test, depth - 1)),
        _ => false,
    }
}

/// Tests a value, or each element of an array.
fn elements(value: &RawValue, test: &mut impl FnMut(&Scalar) -> bool, depth: usize) -> bool {
    if depth == 0 {
        return false;
    }
    match value.get().as_bytes().first() {
        Some(b'[') => items(value).iter().any(|value| elements(value, test, depth - 1)),
        _ => scalar(value).is_some_and(|scalar| test(&scalar)),
    }
}

/// Tests a value and all that is within it.
fn within(
    name: &str,
    value: &RawValue,
    path: &mut String,
    test: &mut impl FnMut(&str, &Scalar) -> bool,
    depth: usize,
) -> bool {
    let before = path.len();
    if before > 0 && !name.is_empty() {
        path.push('.');
    }
    path.push_str(name);
    let found = depth > 0
        && match value.get().as_bytes().first() {
            Some(b'{') => {
                fields(value).iter().any(|(name, value)| within(name, value, path, test, depth - 1))
            }
            Some(b'[') => items(value).iter().any(|value| within("", value, path, test, depth - 1)),
            _ => scalar(value).is_some_and(|scalar| test(path, &scalar)),
        };
    path.truncate(before);
    found
}

fn fields(value: &RawValue) -> Vec<(Cow<'_, str>, &RawValue)> {
    fields_of(value.get()).unwrap_or_default()
}

fn fields_of(object: &str) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    if let Ok(fields) = serde_json::from_str::<Fields<Text>>(object) {
        return Some(fields.0.into_iter().map(|(Text(name), value)| (name, value)).collect());
    }
    let fields = serde_json::from_str::<Fields<AnyText>>(object).ok()?;
    Some(fields.0.into_iter().map(|(AnyText(name), value)| (name, value)).collect())
}

fn items(value: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(value.get()).unwrap_or_default()
}

fn scalar(value: &RawValue) -> Option<Scalar<'_>> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'"' => Some(Scalar::Text(string(text)?)),
        b't' => Some(Scalar::Bool(true)),
        b'f' => Some(Scalar::Bool(false)),
        b'n' => Some(Scalar::Null),
        b'{' | b'[' => None,
        _ => Some(Scalar::Number(text)),
    }
}

/// What a JSON string holds. Most hold no escapes and are what stands between the quotes.
fn string(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    match serde_json::from_str::<Text>(text) {
        Ok(Text(text)) => Some(text),
        Err(_) => Some(serde_json::from_str::<AnyText>(text).ok()?.0),
    }
}

/// A string that is borrowed where it holds no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A string that may have escapes which are halves of characters: JSON allows them, and what is shipped is kept. They read as
/// U+FFFD.
struct AnyText<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for AnyText<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = AnyText<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(AnyText(String::from_utf8_lossy(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(AnyText(Cow::Owned(without_halves(bytes))))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Bytes in which halves of characters are encoded as characters are: three bytes each.
fn without_halves(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}")
}

/// An object's fields in their order, names that come twice included.
struct Fields<'a, Name>(Vec<(Name, &'a RawValue)>);

impl<'de, Name: serde::Deserialize<'de>> serde::Deserialize<'de> for Fields<'de, Name> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<Name>(PhantomData<Name>);
        impl<'de, Name: serde::Deserialize<'de>> Visitor<'de> for Object<Name> {
            type Value = Fields<'de, Name>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some(name) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(line: &str, path: &str) -> Vec<String> {
        let mut found = vec![];
        Log::parse(line.as_bytes()).unwrap().any(path, |scalar| {
            found.push(scalar.text().to_owned());
            false
        });
        found
    }

    #[test]
    fn a_path_finds_every_value_of_its_field() {
        for (line, path, expect) in [
            (r#"{"a":"x"}"#, "a", &["x"][..]),
            (r#"{"a":1.50,"b":true,"c":null}"#, "a", &["1.50"]),
            (r#"{"a":true}"#, "a", &["true"]),
            (r#"{"a":null}"#, "a", &["null"]),
            (r#"{"a":{"b":"x"},"a.b":"y"}"#, "a.b", &["x", "y"]),
            (r#"{"a":{"b.c":1},"a.b":{"c":2}}"#, "a.b.c", &["1", "2"]),
            (r#"{"a":["x",["y"],{"b":"z"}]}"#, "a", &["x", "y"]),
            (r#"{"a":[{"b":"x"},{"b":"y"}]}"#, "a.b", &["x", "y"]),
            (r#"{"a":"x","a":"y"}"#, "a", &["x", "y"]),
            (r#"{"\u0061":"\u0078"}"#, "a", &["x"]),
            (r#"{"a":{"b":1}}"#, "a", &[]),
            (r#"{"ab":1}"#, "a", &[]),
            (r#"{"":{"":"x"}}"#, ".", &["x"]),
            (r#"{"a":"x","\ud800":"y"}"#, "a", &["x"]),
            (r#"{"a":{"b":"x","\ud800":"y"}}"#, "a.b", &["x"]),
            (r#"{"a":"b \udc00 c"}"#, "a", &["b \u{fffd} c"]),
            (r#"{"a":1e999}"#, "a", &["1e999"]),
        ] {
            assert_eq!(values(line, path), expect, "{line} {path}");
        }
        assert!(Log::parse(b"[1]").is_none());
    }

    #[test]
    fn every_field_is_told_with_its_path() {
        let line = br#"{"a":{"b":[1,{"c":"x"}]},"d":"y"}"#;
        let mut found = vec![];
        Log::parse(line).unwrap().any_field(|path, scalar| {
            found.push(format!("{path}={}", scalar.text()));
            false
        });
        assert_eq!(found, ["a.b=1", "a.b.c=x", "d=y"]);
    }
}
