//! A run's plan: the scenario's choices and the command line's, as groups of connections and their tokens.

use super::LoadError;
use super::body::{Encoding, Recipe};
use super::lines::{Lines, Shape};
use super::link::Http;
use super::options::Options;
use super::pace::Pace;
use super::random::Random;
use super::report::Settings;
use super::scenario::{Preset, Side};
use super::traffic::{Common, Content, Group};
use crate::clock::{self, Clock};
use crate::domain::timestamp::rfc3339_millis;
use bytes::Bytes;
use std::io::{self, Write};
use std::sync::Arc;

/// What will be sent.
pub(super) struct Plan {
    preset: Preset,
    rate: Option<f64>,
    recipe: Recipe,
    shape: Option<Shape>,
}

/// A group's name, content, tokens, connections and rate.
type Sending = (&'static str, Content, Arc<Vec<String>>, u32, Option<f64>);

impl Plan {
    pub(super) fn new(options: &Options) -> Result<Self, LoadError> {
        let preset = options.scenario.preset(options.side_connections, options.side_rate);
        let preset = Preset {
            connections: options.connections.unwrap_or(preset.connections),
            batch_lines: options.batch_lines.unwrap_or(preset.batch_lines),
            line_bytes: options.line_bytes.or(preset.line_bytes),
            bad_lines: options.bad_lines.unwrap_or(preset.bad_lines),
            side: preset.side,
        };
        let shape = options.sample.is_none().then_some(options.shape.unwrap_or(Shape::Flat));
        let lines = match (&options.sample, shape) {
            (Some(path), _) => Lines::sample(path)?,
            (None, shape) => Lines::Made {
                shape: shape.unwrap_or(Shape::Flat),
                line_bytes: preset.line_bytes.map(|bytes| bytes as usize),
                timestamp: rfc3339_millis(Clock::system().unix_ms()),
            },
        };
        let recipe = Recipe {
            lines,
            batch_lines: preset.batch_lines as usize,
            bad_lines: preset.bad_lines.min(preset.batch_lines) as usize,
            encoding: options.encoding,
        };
        Ok(Self { preset, rate: options.rate, recipe, shape })
    }

    /// The groups of connections, the main traffic first. Open loops begin now.
    pub(super) fn groups(
        &self,
        common: &Arc<Common>,
        tokens: &Arc<Vec<String>>,
    ) -> Result<Vec<Arc<Group>>, LoadError> {
        let connections = self.preset.connections;
        let main =
            ("traffic", Content::Lines(self.recipe.clone()), Arc::clone(tokens), connections, self.rate);
        let side = self.side_group(common.seed, tokens).map_err(LoadError::Bodies)?;
        let start = clock::monotonic();
        let mut first_lane = 0;
        let groups = [Some(main), side].into_iter().flatten();
        let groups = groups.map(|(name, content, tokens, connections, rate)| {
            let pace = Pace::new(rate, start);
            let group = Group::new(name, common, content, tokens, connections, first_lane, pace);
            first_lane += 2 * connections;
            Arc::new(group)
        });
        Ok(groups.collect())
    }

    /// The side actors that send batches, too.
    fn side_group(&self, seed: u64, tokens: &Arc<Vec<String>>) -> io::Result<Option<Sending>> {
        Ok(match self.preset.side {
            Side::BadTokens { connections, per_second } => {
                let one_line = Recipe { batch_lines: 1, bad_lines: 0, ..self.recipe.clone() };
                let unknown = Arc::new(unknown_tokens(seed));
                Some(("unknown tokens", Content::Lines(one_line), unknown, connections, per_second))
            }
            Side::Bombs { connections, per_second } => {
                Some(("bombs", Content::Same(bombs()?), Arc::clone(tokens), connections, per_second))
            }
            _ => None,
        })
    }

    /// Who else is there.
    pub(super) fn side(&self) -> Side {
        self.preset.side
    }

    pub(super) fn settings(&self, options: &Options, tokens: usize) -> Settings {
        let encoding = options.encoding.name().unwrap_or("uncompressed");
        Settings {
            connections: self.preset.connections,
            rate: self.rate,
            batch_lines: self.preset.batch_lines,
            lines: self.shape.map_or("sample", Shape::name).to_owned(),
            encoding,
            http: match options.http {
                Http::One => "HTTP/1.1",
                Http::Two => "HTTP/2",
            },
            tls: options.url.starts_with("https"),
            tokens,
            threads: options.threads,
            seed: options.seed,
        }
    }
}

/// Tokens that no server knows.
fn unknown_tokens(seed: u64) -> Vec<String> {
    let mut random = Random::new(seed, u64::MAX);
    (0..1_000).map(|_| format!("{:016x}{:016x}", random.next(), random.next())).collect()
}

/// Bodies of a few kilobytes that inflate to far more than any limit: logs over and over.
fn bombs() -> io::Result<Vec<(Bytes, Encoding)>> {
    let logs = Bytes::from(b"{\"message\":\"boom\"}\n".repeat(1 << 20));
    let mut large = zstd::Encoder::new(vec![], 1)?;
    for _ in 0..50 {
        large.write_all(&logs)?;
    }
    Ok(vec![(large.finish()?.into(), Encoding::Zstd), (Encoding::Gzip.encode(&logs)?, Encoding::Gzip)])
}
