use super::*;
use proptest::prelude::*;
use serde::de::IgnoredAny;

fn nested(depth: u32) -> String {
    let inner = depth as usize - 1;
    format!("{{\"a\":{}{}}}", "[".repeat(inner), "]".repeat(inner))
}

#[test]
fn judges_lines() {
    let none = Ok(Brought::default());
    let both = Ok(Brought { timestamp: true, type_: true });
    let only_type = Ok(Brought { timestamp: false, type_: true });
    let in_strings = format!("{{\"a\":\"{}\"}}", "[{\\\"".repeat(300));
    for (line, expect) in [
        ("{}", none),
        (" {\"a\":1} ", none),
        (r#"{"a":1,"a":2}"#, none),
        (r#"{"n":1e999,"m":123456789012345678901234567890}"#, none),
        (r#"{"@timestamp":"x","type":"y"}"#, both),
        (r#"{"\u0040timestamp":"x","ty\u0070e":null}"#, both),
        (r#"{"a":{"@timestamp":"x","type":"y"}}"#, none),
        (r#"{"a":[{"type":"y"}],"type":1}"#, only_type),
        (r#"{"type":1}"#, only_type),
        (r#"{"a":"\ud800","\ud800":1}"#, none),
        (r#"{"a":{},"b":[],"c":[[]],"d":[{}],"e":true,"f":false,"g":null}"#, none),
        (&nested(DEPTH_MAX), none),
        (&nested(DEPTH_MAX + 1), Err(LineFault::TooDeep)),
        (&in_strings, none),
        ("", Err(LineFault::NotAnObject)),
        ("[1]", Err(LineFault::NotAnObject)),
        ("1", Err(LineFault::NotAnObject)),
        ("\"a\"", Err(LineFault::NotAnObject)),
        ("plain text", Err(LineFault::NotAnObject)),
    ] {
        assert_eq!(inspect(line), expect, "{line}");
    }
}

/// The corners of the grammar, each as a value. Many a parser has been caught in one of them.
#[test]
fn keeps_to_the_grammar() {
    for value in [
        "0",
        "-0",
        "10",
        "0.0",
        "-1.5e+10",
        "1E5",
        "1e-05",
        "true",
        "false",
        "null",
        r#""""#,
        r#""\"""#,
        r#""\\""#,
        r#""\/\b\f\n\r\t""#,
        r#""\u0000""#,
        r#""\uABCDef""#,
        "\"\u{7f}\"",
        "\"\u{2028}\"",
        "\"ü你😀\"",
        "[ ]",
        "{ }",
        "[1 , 2]",
        r#"{"a" : {"b":[ ]} }"#,
        r#"["12345678\"1234567\\"]"#,
        "\t1\r",
    ] {
        let line = format!("{{\"a\":{value}}}");
        assert!(inspect(&line).is_ok(), "{line}");
    }
    for value in [
        "",
        " ",
        ",",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e5",
        "1e",
        "1e+",
        "0x1",
        "1_0",
        "--1",
        "-01",
        "NaN",
        "Infinity",
        "tru",
        "truee",
        "True",
        "nul",
        "'a'",
        "a",
        r#"""#,
        r#""\""#,
        r#""\x""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\u""#,
        "\"\u{1}\"",
        "\"\u{1f}\"",
        "\"\t\"",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1,,2]",
        "[1 2]",
        "[1}",
        "{",
        "{]",
        "{1:2}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{,"a":1}"#,
        r#"{"a" 1}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a"::1}"#,
        "{a:1}",
        "1}",
        "1}}",
        "1,",
        "1//x",
        "\u{a0}1",
        "\u{feff}1",
        "\u{c}1",
    ] {
        let line = format!("{{\"a\":{value}}}");
        assert_eq!(inspect(&line), Err(LineFault::NotJson), "{line}");
    }
    for line in [
        "{",
        "{\"",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1}x",
        "{}{}",
        "{{}}",
        "{\"a\":1}}",
        "{\"a\u{1}\":1}",
    ] {
        assert_eq!(inspect(line), Err(LineFault::NotJson), "{line}");
    }
}

/// What `serde_json` makes of a line that begins as an object.
fn reference(line: &str) -> bool {
    line.trim_ascii_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(line).is_ok()
}

fn check_against_reference(line: &str) -> Result<(), TestCaseError> {
    match inspect(line) {
        Err(LineFault::TooDeep) => {}
        judged => prop_assert_eq!(judged.is_ok(), reference(line), "{:?}", line),
    }
    // Where it is text throughout, the keys can be compared, too.
    if let Ok(object) = serde_json::from_str::<std::collections::HashMap<String, IgnoredAny>>(line) {
        let brought =
            Brought { timestamp: object.contains_key("@timestamp"), type_: object.contains_key("type") };
        prop_assert_eq!(inspect(line), Ok(brought), "{:?}", line);
    }
    Ok(())
}

/// Objects as they are shipped.
fn objects() -> impl Strategy<Value = String> {
    let text =
        prop_oneof!["[ -~]{0,20}", "\\PC{0,8}", Just("@timestamp".to_owned()), Just("type".to_owned())];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        text.clone().prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map("[a-z@]{0,6}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::hash_map(text, value, 0..6)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()).to_string())
}

proptest! {
    #[test]
    fn agrees_with_serde_json_on_arbitrary_text(line in r#"\{?[ {}\[\]",:\\0-9a-eunlrtfs.+\-\x01\x1f\x7fü]{0,40}\}?"#) {
        check_against_reference(&line)?;
    }

    #[test]
    fn agrees_with_serde_json_on_objects(line in objects()) {
        prop_assert!(inspect(&line).is_ok(), "{line}");
        check_against_reference(&line)?;
    }

    /// One character off is where validators err.
    #[test]
    fn agrees_with_serde_json_on_objects_with_a_flaw(
        line in objects(),
        at in any::<prop::sample::Index>(),
        flaw in prop::sample::select(vec!["", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", ".", "e", "t", " ", "\u{1}", "ü"]),
        replace in any::<bool>(),
    ) {
        let mut characters: Vec<String> = line.chars().map(String::from).collect();
        let at = at.index(characters.len());
        if replace { characters[at] = flaw.to_owned() } else { characters.insert(at, flaw.to_owned()) }
        check_against_reference(&characters.concat())?;
    }
}
