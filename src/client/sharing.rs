//! `shipgate shared-token …` and `shipgate filter …`

use super::api::Api;
use super::tokens::terms::{lifetime, yes_or_no};
use super::{ClientError, Named, Shown, table};
use clap::{ArgAction, Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

const SHARED_TOKENS: &str = "/v1/shared-tokens";
const FILTERS: &str = "/v1/shared-tokens/filters";

const SHARED_TOKEN: Named =
    Named { what: "shared token of the account", list: "shared-token list", id: "id", name: "name" };

#[derive(Debug, Subcommand)]
pub enum SharedTokenAction {
    /// List the account's shared tokens with their links
    List,
    /// Create a shared token: read-only access to the account's logs, limited by its filters
    #[command(after_help = super::examples::SHARED_TOKEN)]
    Create {
        /// Its name: unique in the account, and shown to who opens its link
        name: String,
        /// Share only logs that pass this filter, by its id or as field=value; may be repeated. Without any, everything is shared
        #[arg(long = "filter", value_name = "FILTER")]
        filters: Vec<String>,
        /// Of several filters, whether a log must pass all of them or one
        #[arg(long, value_enum, default_value_t = Operator::And)]
        operator: Operator,
        /// In which time it expires, such as 30d; it lasts unless this is said
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires_in: Option<u64>,
        /// Whether who opens its link is given a query bar. It limits nothing: filters do
        #[arg(long, value_name = "yes|no", default_value = "yes", action = ArgAction::Set, value_parser = yes_or_no)]
        query_bar: bool,
    },
    /// Change a shared token, at once on every link that was sent out; what is not named stays as it is
    Set {
        /// The shared token's id or name
        token: String,
        #[command(flatten)]
        change: Box<Change>,
    },
    /// Delete a shared token: links with it show nothing any more
    Delete {
        /// The shared token's id or name
        token: String,
    },
}

#[derive(Debug, Args)]
pub struct Change {
    /// Its new name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Share only logs that pass this filter, by its id or as field=value; may be repeated. All filters are replaced
    #[arg(long = "filter", value_name = "FILTER", conflicts_with = "no_filters")]
    filters: Vec<String>,
    /// Share everything
    #[arg(long)]
    no_filters: bool,
    /// Of several filters, whether a log must pass all of them or one
    #[arg(long, value_enum)]
    operator: Option<Operator>,
    /// In which time from now it expires, such as 30d
    #[arg(long, value_name = "TIME", value_parser = lifetime, conflicts_with = "no_expiry")]
    expires_in: Option<u64>,
    /// Let it last
    #[arg(long)]
    no_expiry: bool,
    /// Whether who opens its link is given a query bar
    #[arg(long, value_name = "yes|no", action = ArgAction::Set, value_parser = yes_or_no)]
    query_bar: Option<bool>,
}

/// How several filters combine.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Operator {
    /// A log must pass all of them
    And,
    /// One is enough
    Or,
}

impl Operator {
    fn name(self) -> &'static str {
        match self {
            Self::And => "AND",
            Self::Or => "OR",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum FilterAction {
    /// List the account's filters
    List,
    /// Create a filter: the logs whose field has exactly this value. It limits nothing until a shared token has it
    #[command(after_help = super::examples::FILTER)]
    Create {
        /// A field of logs, such as env; with dots for fields within fields, such as kubernetes.namespace
        field: String,
        /// Its value, letter by letter: there are no wildcards
        value: String,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
    },
    /// Delete a filter, at once on every link whose shared token has it; one that loses its last filter shares nothing
    Delete {
        /// The filter's id, or field=value
        filter: String,
    },
}

pub(super) async fn run(api: &Api, action: SharedTokenAction) -> Result<Shown, ClientError> {
    match action {
        SharedTokenAction::List => {
            let (tokens, filters) = (all(api, SHARED_TOKENS).await?, all(api, FILTERS).await?);
            Ok(Shown::new(tokens.into(), |tokens| table::shared_tokens(tokens, &filters, api.url())))
        }
        SharedTokenAction::Create { name, filters, operator, expires_in, query_bar } => {
            let known = all(api, FILTERS).await?;
            let new = json!({
                "tokenName": name,
                "filters": ids(&known, &filters)?,
                "filtersOperator": operator.name(),
                "expiresIn": expires_in,
                "queryBar": query_bar,
            });
            Ok(shown(api, api.post(SHARED_TOKENS, &new).await?, &known))
        }
        SharedTokenAction::Set { token, change } => {
            let known = all(api, FILTERS).await?;
            let change = change.into_json(&known)?;
            let (id, _) = SHARED_TOKEN.find(&all(api, SHARED_TOKENS).await?, &token)?;
            let set = api.put(&format!("{SHARED_TOKENS}/{id}"), &change.into()).await?;
            Ok(shown(api, set, &known))
        }
        SharedTokenAction::Delete { token } => {
            let (id, name) = SHARED_TOKEN.find(&all(api, SHARED_TOKENS).await?, &token)?;
            let deleted = api.delete(&format!("{SHARED_TOKENS}/{id}")).await?;
            Ok(Shown::new(deleted, |_| format!("deleted: {id} {name:?}")))
        }
    }
}

pub(super) async fn run_filter(api: &Api, action: FilterAction) -> Result<Shown, ClientError> {
    match action {
        FilterAction::List => Ok(Shown::new(api.get(FILTERS).await?, table::filters)),
        FilterAction::Create { field, value, description } => {
            let new = json!({ "field": field, "value": value, "description": description });
            Ok(Shown::new(api.post(FILTERS, &new).await?, table::filters))
        }
        FilterAction::Delete { filter } => {
            let id = id_of(&all(api, FILTERS).await?, &filter)?;
            let deleted = api.delete(&format!("{FILTERS}/{id}")).await?;
            Ok(Shown::new(deleted, |filter| {
                let name = format!("deleted: {id} {}", filter_name(filter));
                let losers = filter["sharedTokens"].as_array().into_iter().flatten();
                std::iter::once(name).chain(losers.map(loss)).collect::<Vec<_>>().join("\n")
            }))
        }
    }
}

impl Change {
    fn into_json(self, known: &[Value]) -> Result<Map<String, Value>, ClientError> {
        let filters = match (self.no_filters, self.filters.is_empty()) {
            (true, _) => Some(json!([])),
            (false, true) => None,
            (false, false) => Some(ids(known, &self.filters)?),
        };
        let fields = [
            ("name", self.name.map(Value::from)),
            ("filters", filters),
            ("filtersOperator", self.operator.map(|operator| operator.name().into())),
            ("expiresIn", self.expires_in.map(Value::from)),
            ("expirationDate", self.no_expiry.then_some(Value::Null)),
            ("queryBar", self.query_bar.map(Value::from)),
        ];
        let change: Map<_, _> =
            fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        if change.is_empty() { Err(ClientError::NothingToChange) } else { Ok(change) }
    }
}

/// A shared token with its link, and what the server warns of.
fn shown(api: &Api, token: Value, filters: &[Value]) -> Shown {
    Shown::new(token, |token| {
        let table = table::shared_tokens(token, filters, api.url());
        match token["warning"].as_str() {
            Some(warning) => format!("{table}\nwarning: {warning}"),
            None => table,
        }
    })
}

/// What a shared token lost with a filter.
fn loss(token: &Value) -> String {
    let lost = match token["shows"].as_str() {
        Some("nothing") => "lost its last filter: it shares nothing until its filters are set again",
        Some("less") => "lost it, and shares less",
        _ => "lost it, and shares more: what its other filters let through",
    };
    format!("{} {} {lost}", token["id"], token["name"])
}

fn ids(known: &[Value], asked: &[String]) -> Result<Value, ClientError> {
    asked.iter().map(|text| id_of(known, text)).collect::<Result<Vec<_>, _>>().map(Value::from)
}

/// A filter, as a user names it: by id or as field=value.
fn id_of(known: &[Value], text: &str) -> Result<u64, ClientError> {
    let number = text.parse().ok();
    let is_named = |filter: &&Value| {
        number.is_some_and(|number: u64| filter["id"] == number) || filter_name(filter) == text
    };
    let found = known.iter().find(is_named).and_then(|filter| filter["id"].as_u64());
    let what = "filter of the account";
    found.ok_or_else(|| ClientError::NotFound { what, text: text.to_owned(), list: "filter list" })
}

pub(super) fn filter_name(filter: &Value) -> String {
    format!("{}={}", table::text(&filter["field"]), table::text(&filter["value"]))
}

async fn all(api: &Api, path: &str) -> Result<Vec<Value>, ClientError> {
    match api.get(path).await? {
        Value::Array(all) => Ok(all),
        _ => Err(api.not_shipgate()),
    }
}
