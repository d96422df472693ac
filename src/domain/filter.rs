//! Filters: which of an account's logs the holder of a shared token may see.

use super::log::Log;
use std::fmt;

/// A filter's number, as the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilterId(pub u32);

impl fmt::Display for FilterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An exact `field: value` match on a log's own field. There are no wildcards: `*` matches a star.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    /// A dotted path.
    pub field: String,
    /// A string's content, or the JSON text of a number, a boolean or null.
    pub value: String,
}

impl Filter {
    pub fn passes(&self, log: &Log) -> bool {
        log.any(&self.field, |scalar| scalar.text() == self.value)
    }
}

/// How several filters combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Operator {
    #[default]
    And,
    Or,
}

impl Operator {
    pub fn name(self) -> &'static str {
        match self {
            Self::And => "AND",
            Self::Or => "OR",
        }
    }

    /// Reads what [`Self::name`] gives.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::And, Self::Or].into_iter().find(|operator| operator.name() == name)
    }
}

/// One filter or more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FilterSet {
    operator: Operator,
    filters: Vec<Filter>,
}

impl FilterSet {
    /// `None` without any filter: that would be everything or nothing, and is for [`Access`] to say.
    pub fn new(operator: Operator, filters: Vec<Filter>) -> Option<Self> {
        (!filters.is_empty()).then_some(Self { operator, filters })
    }

    pub fn passes(&self, log: &Log) -> bool {
        match self.operator {
            Operator::And => self.filters.iter().all(|filter| filter.passes(log)),
            Operator::Or => self.filters.iter().any(|filter| filter.passes(log)),
        }
    }

    pub fn operator(&self) -> Operator {
        self.operator
    }

    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }
}

/// What of an account's logs somebody may read. No question is put to a log without one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Access {
    Everything,
    Only(FilterSet),
    /// A shared token that lost its last filter, until an admin saves its filters again.
    Nothing,
}

impl Access {
    pub fn passes(&self, log: &Log) -> bool {
        match self {
            Self::Everything => true,
            Self::Only(filters) => filters.passes(log),
            Self::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_an_exact_match_of_a_field() {
        for (field, value, line, expect) in [
            ("env", "test", r#"{"env":"test"}"#, true),
            ("env", "test", r#"{"env":"tests"}"#, false),
            ("env", "test", r#"{"env":"Test"}"#, false),
            ("env", "*", r#"{"env":"test"}"#, false),
            ("env", "*", r#"{"env":"*"}"#, true),
            ("code", "200", r#"{"code":200}"#, true),
            ("code", "200", r#"{"code":"200"}"#, true),
            ("code", "200", r#"{"code":200.0}"#, false),
            ("ok", "true", r#"{"ok":true}"#, true),
            ("tags", "b", r#"{"tags":["a","b"]}"#, true),
            ("a.b", "x", r#"{"a":{"b":"x"}}"#, true),
            ("env", "test", r#"{"msg":"env: test"}"#, false),
        ] {
            let filter = Filter { field: field.into(), value: value.into() };
            assert_eq!(
                filter.passes(&Log::parse(line.as_bytes()).unwrap()),
                expect,
                "{field}: {value} of {line}"
            );
        }
    }

    #[test]
    fn several_filters_combine_as_is_said() {
        let filter = |field: &str| Filter { field: field.into(), value: "x".into() };
        let log = Log::parse(br#"{"a":"x","b":"y"}"#).unwrap();
        for (operator, expect) in [(Operator::And, false), (Operator::Or, true)] {
            let set = FilterSet::new(operator, vec![filter("a"), filter("b")]).unwrap();
            assert_eq!(Access::Only(set).passes(&log), expect);
        }
        assert_eq!(FilterSet::new(Operator::And, vec![]), None);
        assert!(Access::Everything.passes(&log) && !Access::Nothing.passes(&log));
    }
}
