//! The rules of the source tree that no compiler knows: who may import whom, who owns what, and how long things get.
//! Every rule is a function from a file to its findings; below each is shown to find something.

mod source;

use source::{Source, files, item_end, root};
use std::fs;

/// Which modules of ours each module may import. A module that is not here may not exist.
const IMPORTS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("wire", &["domain"]),
    ("clock", &[]),
    ("telemetry", &[]),
    ("metrics", &["domain"]),
    ("shutdown", &["clock", "metrics"]),
    ("store", &["domain", "clock"]),
    ("journal", &["domain", "metrics", "shutdown", "clock", "telemetry"]),
    ("logs", &["domain", "metrics", "shutdown", "clock", "telemetry", "journal", "tls"]),
    ("sync", &["domain", "wire", "tls", "metrics", "shutdown", "clock", "telemetry"]),
    ("tls", &["shutdown", "clock"]),
    ("gateway", &["domain", "journal", "sync", "tls", "metrics", "shutdown", "clock", "telemetry"]),
    (
        "control",
        &["domain", "wire", "store", "logs", "serve", "tls", "metrics", "shutdown", "clock", "telemetry"],
    ),
    ("serve", &["shutdown", "tls"]),
    ("ops", &["metrics", "shutdown", "serve"]),
    ("client", &["domain", "clock", "tls"]),
    ("load", &["domain", "shutdown", "clock"]),
];

/// These assemble the others and import everything; of `config` see [`more_than_configs`].
const ASSEMBLERS: &[&str] = &["main", "program", "greeting", "config"];

/// What `config` may name of a module: the types its values end up in.
const CONFIG_TYPES: &[&str] = &[
    "Config",
    "Bootstrap",
    "Credentials",
    "Format",
    "Key",
    "Listener",
    "Location",
    "OnCorruption",
    "Origin",
    "SessionLimits",
    "WhenStale",
];

/// What has one owner: the name in code, and the only places that may say it.
const OWNERS: &[(&str, &[&str])] = &[
    ("arc_swap", &["src/sync/current.rs"]),
    ("sqlx", &["src/store/"]),
    ("tokio::spawn", &["src/shutdown.rs"]),
    ("task::spawn", &["src/shutdown.rs"]),
    ("Instant::now", &["src/clock.rs"]),
    ("SystemTime::now", &["src/clock.rs"]),
    ("now_utc", &["src/clock.rs"]),
    ("flate2::", &["src/gateway/payload.rs", "src/load/"]),
    (
        "zstd::",
        &[
            "src/gateway/payload.rs",
            "src/journal/",
            "src/logs/",
            "src/load/",
            "src/control/directory.rs",
            "src/control/logs/export.rs",
            "src/sync/source.rs",
        ],
    ),
    ("std::env", &["src/main.rs", "src/config.rs"]),
    ("env::var", &["src/main.rs", "src/config.rs"]),
];

/// SQL lives in `store/`. A string that begins so is a statement.
const SQL: &[&str] = &["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE "];

/// What is never left behind. Written in two parts, or this file would find itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[ig", "nore"),
];

/// Names that say nothing about what a type is.
const EMPTY_NAMES: &[&str] =
    &["Manager", "Handler", "Service", "Processor", "Helper", "Helpers", "Util", "Utils"];

const FILE_LINES_MAX: usize = 500;
const TEST_FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn the_tree_is_tidy() {
    let mut findings = Vec::new();
    for path in files() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else {
            continue; // Not text.
        };
        findings.extend(unfinished(&path, &text));
        if path.starts_with("config/") && path.ends_with(".toml") {
            findings.extend(undocumented_keys(&path, &text));
        }
        if path.ends_with(".rs") {
            findings.extend(rust_findings(&Source::new(&path, &text)));
        }
    }
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
}

fn rust_findings(source: &Source) -> Vec<String> {
    let mut findings: Vec<_> = too_long(source).into_iter().collect();
    if source.path.starts_with("src/") && !source.is_tests() {
        findings.extend(header(source));
        findings.extend(imports(source));
        findings.extend(more_than_configs(source));
        findings.extend(re_exports(source));
        findings.extend(owners(source));
        findings.extend(sql(source));
        findings.extend(empty_names(source));
        findings.extend(long_functions(source));
    }
    findings
}

/// Every module begins by saying what it is.
fn header(source: &Source) -> Option<String> {
    (!source.text.starts_with("//!")).then(|| format!("{}: has no `//!` header", source.path))
}

/// Imports follow [`IMPORTS`].
fn imports(source: &Source) -> Vec<String> {
    let modules = source.modules();
    let Some(module) = modules.first().copied() else {
        return Vec::new(); // lib.rs imports nothing.
    };
    let allowed = IMPORTS.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
    if allowed.is_none() && !ASSEMBLERS.contains(&module) {
        return vec![format!("{}: module `{module}` is not in the import table", source.path)];
    }
    let may = |path: &[String]| match (allowed, path) {
        (None, _) | (_, []) => true,
        (Some(allowed), [first, ..]) => first == module || allowed.contains(&first.as_str()),
    };
    let mut findings = Vec::new();
    for (at, path) in our_paths(&source.code) {
        if !may(&path) {
            let path = path.join("::");
            findings.push(source.finding(at, format!("{module} may not import crate::{path}")));
        }
    }
    let escape = "super::".repeat(modules.len());
    for (at, _) in source.code.match_indices(&escape) {
        findings.push(source.finding(at, format!("`{escape}` leaves the module")));
    }
    findings
}

/// `config` knows the modules it configures, but only by the types of [`CONFIG_TYPES`], and the domain.
fn more_than_configs(source: &Source) -> Vec<String> {
    if source.modules() != ["config"] {
        return Vec::new();
    }
    let code = &source.code;
    let mut findings = Vec::new();
    for (module, _) in IMPORTS.iter().filter(|(module, _)| *module != "domain") {
        for (at, found) in code.match_indices(&format!("{module}::")) {
            let path = word(&code[at + found.len()..], ":");
            let ours = code[..at].ends_with("crate::") || begins_word(code, at) && !code[..at].ends_with(':');
            if ours && !path.split("::").any(|name| CONFIG_TYPES.contains(&name)) {
                findings.push(source.finding(at, format!("config may not know {module}::{path}")));
            }
        }
    }
    findings
}

/// Nothing is exported again by another module: there is one way to name a thing.
fn re_exports(source: &Source) -> Vec<String> {
    let module = source.modules().first().copied().unwrap_or_default().to_owned();
    let foreign = |at: usize| {
        let path = source.code[at..].trim_start_matches("pub use ");
        let own = format!("crate::{module}::");
        path.starts_with("crate::") && !path.starts_with(&own)
    };
    let found = source.code.match_indices("pub use ").filter(|(at, _)| foreign(*at));
    found.map(|(at, _)| source.finding(at, "`pub use` of another module")).collect()
}

/// Names in [`OWNERS`] are said by their owners only.
fn owners(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, owners) in OWNERS {
        if owners.iter().any(|owner| source.path.starts_with(owner)) {
            continue;
        }
        for (at, _) in source.code.match_indices(name) {
            let after = source.code[at + name.len()..].chars().next();
            if begins_word(&source.code, at) && (name.ends_with(':') || !is_word(after)) {
                let owners = owners.join(", ");
                findings.push(source.finding(at, format!("`{name}` belongs to {owners}")));
            }
        }
    }
    findings
}

/// SQL is written in `store/`.
fn sql(source: &Source) -> Vec<String> {
    if source.path.starts_with("src/store/") {
        return Vec::new();
    }
    let is_sql = |text: &str| SQL.iter().any(|word| text.trim_start().starts_with(word));
    source
        .strings
        .iter()
        .filter(|(_, text)| is_sql(text))
        .map(|(line, _)| format!("{}:{line}: SQL belongs to src/store/", source.path))
        .collect()
}

fn empty_names(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for kind in ["struct ", "enum ", "trait ", "type "] {
        for (at, _) in source.code.match_indices(kind) {
            let name = word(&source.code[at + kind.len()..], "");
            if begins_word(&source.code, at) && EMPTY_NAMES.iter().any(|empty| name.ends_with(empty)) {
                findings.push(source.finding(at, format!("`{name}` says nothing about what it is")));
            }
        }
    }
    findings
}

fn too_long(source: &Source) -> Option<String> {
    let (lines, most) = match source.is_tests() {
        true => (source.text.lines().count(), TEST_FILE_LINES_MAX),
        false => (source.lines_without_tests(), FILE_LINES_MAX),
    };
    (lines > most).then(|| format!("{}: {lines} lines, {most} at most", source.path))
}

fn long_functions(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut findings = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if !begins_word(code, at) {
            continue;
        }
        let name = word(&code[at + 3..], "");
        let lines = code[at..at + item_end(&code[at..])].matches('\n').count() + 1;
        if lines > FUNCTION_LINES_MAX && !name.is_empty() {
            let what = format!("{name} has {lines} lines, {FUNCTION_LINES_MAX} at most");
            findings.push(source.finding(at, what));
        }
    }
    findings
}

fn unfinished(path: &str, text: &str) -> Vec<String> {
    let found = |line: &str| UNFINISHED.iter().find(|word| line.contains(**word));
    text.lines()
        .enumerate()
        .filter_map(|(at, line)| found(line).map(|word| format!("{path}:{}: {word}", at + 1)))
        .collect()
}

/// In a configuration file every key has a comment above it.
fn undocumented_keys(path: &str, text: &str) -> Vec<String> {
    let mut above = "";
    let mut findings = Vec::new();
    for (at, line) in text.lines().map(str::trim).enumerate() {
        let key = line.split_once('=').map(|(key, _)| key.trim()).filter(|key| is_key(key));
        if let Some(key) = key
            && !above.starts_with('#')
        {
            findings.push(format!("{path}:{}: `{key}` has no comment above it", at + 1));
        }
        above = line;
    }
    findings
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Every path that begins with `crate::`, without that, groups spread out; and where.
fn our_paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut paths = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let mut tree = code[at + start.len()..].char_indices().peekable();
        let mut found = Vec::new();
        spread(&mut tree, Vec::new(), &mut found);
        paths.extend(found.into_iter().map(|path| (at, path)));
    }
    paths
}

type Chars<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

/// Reads one path or group: `a::b`, `{a, b::{c, d}}`.
fn spread(tree: &mut Chars<'_>, mut path: Vec<String>, found: &mut Vec<Vec<String>>) {
    let mut name = String::new();
    while let Some(&(_, c)) = tree.peek() {
        match c {
            c if c.is_alphanumeric() || c == '_' => name.push(c),
            ':' if !name.is_empty() => path.push(std::mem::take(&mut name)),
            ':' => {}
            '{' if name.is_empty() => {
                tree.next();
                return group(tree, &path, found);
            }
            _ => break,
        }
        tree.next();
    }
    if !name.is_empty() {
        path.push(name);
    }
    found.push(path);
}

fn group(tree: &mut Chars<'_>, path: &[String], found: &mut Vec<Vec<String>>) {
    while let Some(&(_, c)) = tree.peek() {
        match c {
            '}' => {
                tree.next();
                return;
            }
            c if c.is_alphanumeric() || c == '_' => {
                spread(tree, path.to_vec(), found);
                // `as other`: a new name for what was just read.
                while tree.next_if(|(_, c)| *c != ',' && *c != '}').is_some() {}
            }
            _ => drop(tree.next()),
        }
    }
}

/// The word that `code` begins with, which may have these other characters in it.
fn word<'a>(code: &'a str, others: &str) -> &'a str {
    let end = code.find(|c| !is_word(Some(c)) && !others.contains(c));
    &code[..end.unwrap_or(code.len())]
}

fn begins_word(code: &str, at: usize) -> bool {
    !is_word(code[..at].chars().next_back())
}

fn is_word(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod finds {
    use super::*;

    fn check(rule: fn(&Source) -> Vec<String>, path: &str, code: &str, expect: &[&str]) {
        assert_eq!(rule(&Source::new(path, code)), expect, "{path}: {code}");
    }

    #[test]
    fn an_import_that_the_table_forbids() {
        let forbidden = |line, path| format!("src/gateway/a.rs:{line}: gateway may not import crate::{path}");
        let check = |code: &str, expect: &[String]| {
            assert_eq!(imports(&Source::new("src/gateway/a.rs", code)), expect, "{code}");
        };
        check("use crate::store::Store;", &[forbidden(1, "store::Store")]);
        check("\nfn f() { crate::control::start() }", &[forbidden(2, "control::start")]);
        check(
            "use crate::{domain::{token, plan}, store as s, wire::{self, Message as M}, clock::Clock};",
            &[forbidden(1, "store"), forbidden(1, "wire::self"), forbidden(1, "wire::Message")],
        );
        check("use crate::domain::token;\nuse crate::gateway::b;\nuse super::b;", &[]);
        check("// crate::store\n/* crate::store */ const A: &str = \"crate::store\";", &[]);
        check("#[cfg(test)]\nmod tests {\n    use crate::store;\n}", &[]);
        check("use super::super::store;", &["src/gateway/a.rs:1: `super::super::` leaves the module".into()]);
    }

    #[test]
    fn a_module_that_the_table_does_not_know() {
        let unknown = "src/util.rs: module `util` is not in the import table";
        check(imports, "src/util.rs", "", &[unknown]);
        check(imports, "src/lib.rs", "pub mod util;", &[]);
    }

    #[test]
    fn more_than_a_config_type_in_config() {
        let more = "src/config.rs:1: config may not know journal::Journal";
        check(more_than_configs, "src/config.rs", "use crate::journal::Journal;", &[more]);
        check(more_than_configs, "src/config.rs", "fn f(_: journal::Journal) {}", &[more]);
        check(more_than_configs, "src/config.rs", "use crate::domain::plan::Plan;", &[]);
        check(more_than_configs, "src/config.rs", "use crate::{journal}; fn f(_: journal::Config) {}", &[]);
        check(more_than_configs, "src/config.rs", "use std::sync::Arc;", &[]);
        check(imports, "src/main.rs", "use crate::journal::Journal;", &[]);
    }

    #[test]
    fn a_re_export() {
        let found = "src/logs/mod.rs:1: `pub use` of another module";
        check(re_exports, "src/logs/mod.rs", "pub use crate::journal::Journal;", &[found]);
        check(re_exports, "src/logs/mod.rs", "pub use crate::logs::read::Read;\npub use read::Tail;", &[]);
    }

    #[test]
    fn what_belongs_to_another() {
        let spawn = "src/logs/mod.rs:1: `tokio::spawn` belongs to src/shutdown.rs";
        check(owners, "src/logs/mod.rs", "fn f() { tokio::spawn(g()); }", &[spawn]);
        let clock = "src/logs/mod.rs:2: `Instant::now` belongs to src/clock.rs";
        check(owners, "src/logs/mod.rs", "// Instant::now\nlet a = Instant::now();", &[clock]);
        check(owners, "src/clock.rs", "let a = Instant::now();", &[]);
        check(owners, "src/logs/mod.rs", "use zstd::Encoder;\nlet a = my_sqlx;", &[]);
        check(owners, "src/logs/mod.rs", "#[cfg(test)]\nmod tests { use std::env; }", &[]);
    }

    #[test]
    fn sql_outside_the_store() {
        let found = "src/control/a.rs:2: SQL belongs to src/store/";
        check(sql, "src/control/a.rs", "\nlet a = r#\"SELECT 1\"#;", &[found]);
        check(sql, "src/control/a.rs", "// \"SELECT 1\"\nlet a = \"select a token\";", &[]);
        check(sql, "src/store/a.rs", "let a = \"SELECT 1\";", &[]);
    }

    #[test]
    fn a_name_that_says_nothing() {
        let found = "src/logs/mod.rs:1: `LogManager` says nothing about what it is";
        check(empty_names, "src/logs/mod.rs", "pub struct LogManager;", &[found]);
        check(empty_names, "src/logs/mod.rs", "impl Service for Log {}", &[]);
    }

    #[test]
    fn a_missing_header() {
        assert!(header(&Source::new("src/logs/mod.rs", "use std::fs;")).is_some());
        assert!(header(&Source::new("src/logs/mod.rs", "//! Logs.")).is_none());
    }

    #[test]
    fn a_long_file() {
        let lines = |count: usize| "// a\n".repeat(count);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(900));
        let long = |path: &str, text: &str| too_long(&Source::new(path, text)).is_some();
        assert!(long("src/logs/mod.rs", &lines(501)));
        assert!(!long("src/logs/mod.rs", &(lines(500) + &tests)));
        assert!(!long("src/logs/tests.rs", &lines(800)));
        assert!(long("src/logs/tests.rs", &lines(801)));
    }

    #[test]
    fn a_long_function() {
        let function = |lines: usize| {
            let body = "    let a = ['{', '}']; // }\n".repeat(lines);
            format!("fn short() {{}}\nfn long(a: [u8; 2]) -> &'static str {{\n{body}}}\n")
        };
        let found = "src/logs/mod.rs:2: long has 71 lines, 70 at most";
        check(long_functions, "src/logs/mod.rs", &function(69), &[found]);
        check(long_functions, "src/logs/mod.rs", &function(68), &[]);
    }

    #[test]
    fn what_is_unfinished() {
        for word in UNFINISHED {
            assert_eq!(unfinished("a", &format!("x\n// {word}")), [format!("a:2: {word}")]);
        }
        assert!(unfinished("a", "// what to do").is_empty());
    }

    #[test]
    fn a_key_without_a_comment() {
        let found = undocumented_keys("a.toml", "# What a is.\na = 1\nb.c = 2\n\n# d\n[d]\n# e = x\n");
        assert_eq!(found, ["a.toml:3: `b.c` has no comment above it"]);
    }
}
