//! The named scenarios: each a choice of what to send, and who disturbs it meanwhile.

use std::fmt;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scenario {
    /// Batches of 100 lines on 32 connections
    Steady,
    /// One line a batch
    SingleLine,
    /// Every batch with another token of many (--tokens, or --create-accounts)
    ManyTokens,
    /// Every batch from another account of many (--tokens, or --create-accounts)
    ManyAccounts,
    /// Tokens are created, disabled and deleted meanwhile (needs --api-token)
    Churn,
    /// A flood of batches with unknown tokens meanwhile
    BadTokens,
    /// Two lines in a hundred are no JSON objects
    MixedBadLines,
    /// Lines of 490,000 bytes
    HugeLines,
    /// A thousand clients that send a byte now and then meanwhile
    SlowClients,
    /// Small bodies that inflate to a gigabyte meanwhile
    Bombs,
    /// Ten thousand idle connections meanwhile
    Connections,
}

/// Who else is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Side {
    Nobody,
    Churn { changes_per_second: f64 },
    BadTokens { connections: u32, per_second: Option<f64> },
    Slow { clients: u32 },
    Bombs { connections: u32, per_second: Option<f64> },
    Idle { connections: u32 },
}

/// What a scenario chooses where the command line says nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Preset {
    pub connections: u32,
    pub batch_lines: u32,
    pub line_bytes: Option<u32>,
    pub bad_lines: u32,
    pub side: Side,
}

impl Scenario {
    /// Its choices, given what the command line says of side actors.
    pub(super) fn preset(self, side_connections: Option<u32>, side_rate: Option<f64>) -> Preset {
        let preset =
            Preset { connections: 32, batch_lines: 100, line_bytes: None, bad_lines: 0, side: Side::Nobody };
        let connections = |usual: u32| side_connections.unwrap_or(usual);
        let with = |side| Preset { side, ..preset };
        match self {
            Self::Steady | Self::ManyTokens | Self::ManyAccounts => preset,
            Self::SingleLine => Preset { batch_lines: 1, ..preset },
            Self::MixedBadLines => Preset { bad_lines: 2, ..preset },
            Self::HugeLines => Preset { connections: 8, batch_lines: 4, line_bytes: Some(490_000), ..preset },
            Self::Churn => with(Side::Churn { changes_per_second: side_rate.unwrap_or(1_000.0) }),
            Self::BadTokens => with(Side::BadTokens { connections: connections(32), per_second: side_rate }),
            Self::SlowClients => with(Side::Slow { clients: connections(1_000) }),
            Self::Bombs => {
                let per_second = Some(side_rate.unwrap_or(50.0));
                with(Side::Bombs { connections: connections(8), per_second })
            }
            Self::Connections => with(Side::Idle { connections: connections(10_000) }),
        }
    }

    /// Whether one token would miss the point.
    pub(super) fn needs_many_tokens(self) -> bool {
        matches!(self, Self::ManyTokens | Self::ManyAccounts)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steady => "steady",
            Self::SingleLine => "single-line",
            Self::ManyTokens => "many-tokens",
            Self::ManyAccounts => "many-accounts",
            Self::Churn => "churn",
            Self::BadTokens => "bad-tokens",
            Self::MixedBadLines => "mixed-bad-lines",
            Self::HugeLines => "huge-lines",
            Self::SlowClients => "slow-clients",
            Self::Bombs => "bombs",
            Self::Connections => "connections",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn a_scenario_is_shown_as_it_is_typed() {
        for scenario in Scenario::value_variants() {
            let typed = scenario.to_possible_value().unwrap();
            assert_eq!(scenario.to_string(), typed.get_name());
        }
    }

    #[test]
    fn the_command_line_overrides_side_actors() {
        let side = |scenario: Scenario| scenario.preset(Some(5), Some(7.0)).side;
        assert_eq!(side(Scenario::Steady), Side::Nobody);
        assert_eq!(side(Scenario::Churn), Side::Churn { changes_per_second: 7.0 });
        assert_eq!(side(Scenario::Bombs), Side::Bombs { connections: 5, per_second: Some(7.0) });
        assert_eq!(side(Scenario::Connections), Side::Idle { connections: 5 });
    }
}
