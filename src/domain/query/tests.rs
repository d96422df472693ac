use super::*;
use proptest::prelude::*;

/// 2026-01-31T12:34:56.789Z
const NOW_MS: u64 = 1_769_862_896_789;

fn parse(text: &str) -> Query {
    Query::parse(text, NOW_MS).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn matches(text: &str, line: &str) -> bool {
    parse(text).matches(&Log::parse(line.as_bytes()).unwrap())
}

fn check(cases: &[(&str, &str, bool)]) {
    for (text, line, expect) in cases {
        assert_eq!(matches(text, line), *expect, "{text} of {line}");
    }
}

#[test]
fn terms_are_words_of_any_field() {
    let line = r#"{"msg":"Connection to db-7 TIMED out","a":{"user":"Ölaf@example.com"},"n":500,"ok":true}"#;
    check(&[
        ("", line, true),
        ("  ", line, true),
        ("*", line, true),
        ("*:*", line, true),
        ("timed", line, true),
        ("TIMED", line, true),
        ("time", line, false),
        ("time*", line, true),
        ("imed*", line, false),
        ("db-7", line, true),
        ("db-", line, true),
        ("\"timed out\"", line, true),
        ("\"out timed\"", line, false),
        ("\"Timed  ,out\"", line, true),
        ("ölaf", line, true),
        ("öla*", line, true),
        ("ÖLAF", line, true),
        ("olaf", line, false),
        ("ölaf@example*", line, true),
        ("500", line, true),
        ("500.0", line, true),
        ("50", line, false),
        ("true", line, true),
        ("msg", line, false),
        ("\"--\"", line, false),
        ("\"--\"", r#"{"a":"--"}"#, true),
    ]);
}

#[test]
fn fields_are_dotted_paths() {
    let line = r#"{"level":"ERROR","kubernetes":{"pod":{"name":"web-1"}},"a.b":"x","took":12.50,"none":null,
        "tags":["one","two"],"url":"http://h/p:1?q","@timestamp":"2026-01-31T12:00:00Z","odd name":"y","f:g":"z"}"#;
    check(&[
        ("level:error", line, true),
        ("level: error", line, true),
        ("level:\"error\"", line, true),
        ("level:err*", line, true),
        ("level:err", line, false),
        ("msg:error", line, false),
        ("kubernetes.pod.name:web-1", line, true),
        ("kubernetes.pod.name:web-2", line, false),
        ("a.b:x", line, true),
        ("took:12.5", line, true),
        ("took:125e-1", line, true),
        ("took:12", line, false),
        ("took:*", line, true),
        ("none:*", line, false),
        ("nothing:*", line, false),
        ("_exists_:took", line, true),
        ("_exists_:nothing", line, false),
        ("tags:two", line, true),
        ("tags:three", line, false),
        ("tags:(two OR three)", line, true),
        ("tags:(two AND three)", line, false),
        ("tags:(one two)", line, true),
        ("tags:(one NOT two)", line, false),
        ("tags:(three OR level:error)", line, true),
        ("url:http://h/p:1", line, true),
        ("url:http://h/p:2", line, false),
        ("odd\\ name:y", line, true),
        ("f\\:g:z", line, true),
    ]);
}

#[test]
fn operators_bind_as_they_do_in_kibana() {
    let line = r#"{"m":"a b"}"#;
    check(&[
        ("a b", line, true),
        ("a c", line, false),
        ("a AND b", line, true),
        ("a && c", line, false),
        ("a&&b", line, true),
        ("a OR c", line, true),
        ("c || d", line, false),
        ("c||b", line, true),
        ("NOT c", line, true),
        ("NOT a", line, false),
        ("!c", line, true),
        ("-a", line, false),
        ("+a -c", line, true),
        ("+a -b", line, false),
        ("NOT NOT a", line, true),
        ("--a", line, true),
        ("c d OR a b", line, true),
        ("a c OR b d", line, false),
        ("a AND c OR b", line, true),
        ("a AND (c OR b)", line, true),
        ("(a OR c)(b OR d)", line, true),
        ("a NOT(c OR d)", line, true),
        ("-(a AND c)", line, true),
        ("\"a\"\"b\"", line, true),
        ("or", line, false),
        ("\"OR\"", r#"{"m":"or"}"#, true),
        ("ORDER", r#"{"m":"order"}"#, true),
        ("NOTE", r#"{"m":"note"}"#, true),
    ]);
}

#[test]
fn ranges_are_of_numbers_times_and_texts() {
    let line = r#"{"n":10,"f":1.5,"big":9007199254740993,"s":"12","t":"2026-01-31T12:00:00.5Z","ms":1769860800500,
        "sec":1769860800,"v":"1.2.5","w":"mango","b":true,"z":null,"neg":-5}"#;
    check(&[
        ("n:[5 TO 10]", line, true),
        ("n:[5 TO 10}", line, false),
        ("n:{10 TO 20]", line, false),
        ("n:{9.5 TO *}", line, true),
        ("n:[* TO *]", line, true),
        ("z:[* TO *]", line, false),
        ("z:[* TO 5]", line, false),
        ("n:>=10", line, true),
        ("n:>10", line, false),
        ("n:> 9", line, true),
        ("n:<=10", line, true),
        ("n:<10", line, false),
        ("n:(>5 AND <11)", line, true),
        ("neg:[-5 TO -4]", line, true),
        ("neg:-5", line, true),
        ("neg:>-6", line, true),
        ("f:[1 TO 2]", line, true),
        ("big:>9007199254740992", line, true),
        ("big:>9007199254740993", line, false),
        ("big:9007199254740993", line, true),
        ("big:9007199254740992", line, false),
        ("s:[9 TO 100]", line, true),
        ("s:<9", line, false),
        ("w:>5", line, false),
        ("b:>0", line, false),
        ("t:[2026-01-31 TO 2026-01-31]", line, true),
        ("t:[2026-01-31T12:00:00.5Z TO *]", line, true),
        ("t:{2026-01-31T12:00:00.5Z TO *]", line, false),
        ("t:<=2026-01-31T12:00", line, true),
        ("t:<2026-01-31T12:00", line, false),
        ("t:>2026-01-30", line, true),
        ("t:>2026-01-31", line, false),
        ("t:\"2026-01-31T12:00:00.5Z\"", line, true),
        ("t:2026-01-31T12*", line, true),
        ("t:>=now-1h", line, true),
        ("t:>=now-30m", line, false),
        ("t:[now/d TO now]", line, true),
        ("t:>1769860800499", line, true),
        ("ms:>=now-1h", line, true),
        ("ms:[2026-01-31T12:00 TO 2026-01-31T12:00]", line, true),
        ("sec:[2026-01-31T12:00 TO 2026-01-31T12:00]", line, true),
        ("v:[1.2.0 TO 1.3.0]", line, true),
        ("v:[1.2 TO 1.3.0]", line, true),
        ("v:[1.2.6 TO 1.3.0]", line, false),
        ("w:[apple TO pear]", line, true),
        ("w:{mango TO pear]", line, false),
        ("w:[\"a b\" TO \"p q\"]", line, true),
        ("w:>now", line, false),
    ]);
}

#[test]
fn a_date_as_a_value_is_all_of_its_day_and_not_only_its_text() {
    let line = r#"{"@timestamp":"2026-01-31T11:30:05.25Z","ms":1769859005250,"day":"on 2026-01-30","pod":"now-playing"}"#;
    check(&[
        ("@timestamp:now/d", line, true),
        ("@timestamp:now-1d/d", line, false),
        ("@timestamp:2026-01-31", line, true),
        ("@timestamp:\"2026-01-31\"", line, true),
        ("@timestamp:2026-01-30", line, false),
        ("NOT @timestamp:2026-01-31", line, false),
        ("@timestamp:(2026-01-30 OR 2026-01-31)", line, true),
        ("@timestamp:2026-01-31T11:30", line, true),
        ("@timestamp:2026-01-31T12:30+01:00", line, true),
        ("@timestamp:2026-01-31T11:31", line, false),
        ("@timestamp:2026-01-31T11:30:05", line, true),
        ("@timestamp:2026-01-31T11:30:05.250Z", line, true),
        ("@timestamp:[1769859005250 TO now]", line, true),
        ("@timestamp:[1769859005251 TO now]", line, false),
        ("ms:2026-01-31", line, true),
        ("day:2026-01-30", line, true),
        ("day:2026-01-31", line, false),
        ("pod:now-playing", line, true),
        ("2026-01-30", line, true),
    ]);
}

#[test]
fn a_backslash_takes_a_characters_meaning() {
    check(&[
        ("a\\*", r#"{"m":"a"}"#, true),
        ("m:\\*", r#"{"m":"*"}"#, true),
        ("m:\\*", r#"{"m":"x"}"#, false),
        ("m:\"say \\\"hi\\\"\"", r#"{"m":"say \"hi\""}"#, true),
        ("m:c\\:\\\\temp", r#"{"m":"c:\\temp"}"#, true),
        ("\\(a\\)", r#"{"m":"(a)"}"#, true),
        ("\\AND", r#"{"m":"and"}"#, true),
        ("\\-a", r#"{"m":"-a"}"#, true),
        ("wh\\?t", r#"{"m":"wh?t"}"#, true),
    ]);
}

#[test]
fn a_path_is_no_regular_expression() {
    let line = r#"{"path":"/var/log/app/"}"#;
    for text in [
        "/var/log",
        "path:/var/log/app",
        "path:/var/log*",
        "path:\"/var/log/\"",
        "path:\\/var/log/",
        "path:/var/log\\/",
    ] {
        assert!(matches(text, line), "{text}");
    }
    assert!(matches("path:\"/\" or //", r#"{"path":"/","m":"or","n":"//"}"#));
}

#[test]
fn a_mistake_is_told_at_its_column() {
    for (text, column, message) in [
        ("a AND", 6, "a term is missing here"),
        ("AND a", 1, "a term is missing here"),
        ("a OR OR b", 6, "a term is missing here"),
        ("a OR )", 6, "a term is missing here"),
        ("NOT", 4, "a term is missing here"),
        ("- a", 2, "a term is missing here"),
        ("()", 2, "a term is missing here"),
        ("(a OR (b", 7, "this `(` is never closed"),
        ("a) b", 2, "this `)` closes nothing"),
        ("x \"a b", 3, "this quote is never closed"),
        ("level:", 7, "a value is missing after `level:`"),
        ("level: )", 8, "a value is missing after `level:`"),
        ("(level:)", 8, "a value is missing after `level:`"),
        (":a", 1, "the name of a field is missing before this `:`"),
        ("a.*:b", 3, "the name of a field is written in full: it has no wildcards"),
        ("m:*x", 3, "`*` may only end a word"),
        ("é:x*y", 4, "`*` may only end a word"),
        ("a?c", 2, "`?` is not supported"),
        ("a^2", 2, "`^` is not supported"),
        ("\"a\"^2", 4, "`^` is not supported"),
        ("a~", 2, "`~` is not supported"),
        ("\"a b\"~3", 6, "`~` is not supported"),
        (">5", 1, "a comparison needs a field before it"),
        ("took>5", 5, "write a comparison as field:>5"),
        ("[1 TO 2]", 1, "a range needs a field before it"),
        ("a ]", 3, "this bracket closes nothing"),
        ("n:[1 2]", 5, "`TO` is missing here"),
        ("n:[1 TO 2", 3, "this `[` is never closed"),
        ("n:[1 TO ]", 9, "the end of the range is missing"),
        ("n:[ TO 2]", 5, "the beginning of the range is missing"),
        ("n:[]", 4, "the beginning of the range is missing"),
        ("n:>", 4, "a value is missing after `>`"),
        ("a\\", 2, "a character is missing after this `\\`"),
        ("@timestamp:now-5x", 12, "this is no time"),
        ("@timestamp:(now-1h OR nowhere)", 23, "this is no time"),
        ("@timestamp:[now-1h TO blah]", 23, "this is no time"),
        ("@timestamp:>= yesterday", 15, "this is no time"),
        ("path:/err/", 6, "regular expressions are not supported"),
        ("a /err.*[0-9]+/ b", 3, "regular expressions are not supported"),
        ("path:(x OR /(a|b)/)", 12, "regular expressions are not supported"),
        ("created:[now-5x TO *]", 10, "this is no time"),
        ("created:[now-1h TO 2026-13-01]", 20, "this is no time"),
        ("created:>now/x", 10, "this is no time"),
    ] {
        match Query::parse(text, NOW_MS) {
            Ok(query) => panic!("{text}: {query:?}"),
            Err(error) => {
                assert_eq!(error.column, column, "{text}: {error}");
                assert!(error.message.starts_with(message), "{text}: {error}");
            }
        }
    }
}

#[test]
fn a_text_has_bounds() {
    let deep = |groups: usize| "(".repeat(groups) + "a" + &")".repeat(groups);
    assert!(Query::parse(&deep(32), NOW_MS).is_ok());
    assert_eq!(Query::parse(&deep(33), NOW_MS).unwrap_err().column, 33);
    assert_eq!(Query::parse(&"a ".repeat(1_024), NOW_MS).unwrap().tests(), 1_024);
    assert_eq!(Query::parse(&"a ".repeat(2_048), NOW_MS).unwrap_err().column, 2_049);
    assert!(Query::parse(&"-(a OR x:(b c)) ".repeat(256), NOW_MS).is_ok());
    assert_eq!(Query::parse(&"é".repeat(2_049), NOW_MS).unwrap_err().column, 2_049);
    for hostile in ["(", "!", "NOT ", "-", "a:", "a:(", "\"", "[", "a OR ", "*", "\\", "a:[", "&&"] {
        let _ = Query::parse(&hostile.repeat(4_096 / hostile.len()), NOW_MS);
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "\"",
        ":",
        " ",
        "AND",
        "OR",
        "NOT",
        "TO",
        "&&",
        "||",
        "!",
        "-",
        "+",
        "*",
        "?",
        "\\",
        ">",
        "<",
        "=",
        "a",
        "b.c",
        "5",
        "now-1h",
        "é",
        "\u{212a}",
        "^",
        "~",
        "2026-01-31",
    ]);
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,80}", pieces in pieces()) {
        let log = Log::parse(r#"{"a":"b é K","b":{"c":[5,"2026-01-31T00:00:00Z",null,true]}}"#.as_bytes()).unwrap();
        for text in [text, pieces] {
            match Query::parse(&text, NOW_MS) {
                Ok(query) => { query.matches(&log); }
                Err(error) => prop_assert!(error.column <= text.chars().count() + 1),
            }
        }
    }

    #[test]
    fn a_phrase_is_found_as_by_the_plain_way(text in "[aAbB7éÉ .-]{0,12}", wanted in "[aAbB7éÉ -]{1,5}") {
        let plain = |text: &str| words::of(text).map(words::lower_case).collect::<Vec<_>>();
        let (found, wanted) = (plain(&text), plain(&wanted));
        if !wanted.is_empty() {
            let expect = found.windows(wanted.len()).any(|run| run == wanted);
            prop_assert_eq!(words::has_phrase(&text, &wanted), expect);
            let expect = found.iter().any(|word| word.starts_with(&wanted[0]));
            prop_assert_eq!(words::has_prefix(&text, &wanted[0]), expect);
        }
    }
}

#[test]
fn a_time_is_compared_with_numbers_of_seconds_and_milliseconds() {
    let text = |clock: &str| format!(r#"{{"@timestamp":"2026-01-31T{clock}"}}"#);
    let number = |number: u64| format!(r#"{{"@timestamp":{number}}}"#);
    for (query, line, expect) in [
        // 2026-01-31T12:00:00Z
        ("@timestamp:>=1769860800", text("12:00:00Z"), true),
        ("@timestamp:>=1769860800", text("11:59:59.999Z"), false),
        ("@timestamp:>1769860800", text("12:00:00.5Z"), false),
        ("@timestamp:>=1769860800", number(1_769_860_800_000), true),
        ("@timestamp:>=1769860800", number(1_769_860_799), false),
        ("@timestamp:[1769860800000 TO 1769860800999]", number(1_769_860_800), true),
        ("@timestamp:[1769860800000 TO 1769860800999]", text("13:00:00.999+0100"), true),
        ("@timestamp:[1769860800000 TO 1769860800999]", text("12:00:01Z"), false),
        ("took:>=1769860800", r#"{"took":1769860800}"#.to_owned(), true),
    ] {
        assert_eq!(matches(query, &line), expect, "{query} of {line}");
    }
}
