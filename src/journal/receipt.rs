//! Receipts: the proof that a batch is where its account's durability wants it. An answer of success is made from one.

use crate::domain::account::Durability;
use crate::domain::batch::Tally;

/// Made only by the journal, once it has kept its promise.
#[derive(Debug)]
pub struct Receipt {
    tally: Tally,
    durability: Durability,
}

impl Receipt {
    pub(super) fn new(tally: Tally, durability: Durability) -> Self {
        Self { tally, durability }
    }

    /// What became of the batch's lines.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What is promised of the accepted ones.
    pub fn durability(&self) -> Durability {
        self.durability
    }
}
