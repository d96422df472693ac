//! The rules of Shipgate, pure: no runtime, no sockets, no clock, no files, no randomness, no logging.
//!
//! Everything here is a value or a function of values, so that each rule is tested by a table. The types carry
//! proofs along the straight line: only [`directory::Directory::admit`] makes a [`directory::Permit`], and only a
//! permit makes a [`batch::Batch`].

pub mod account;
pub mod batch;
pub mod directory;
pub mod filter;
pub mod json;
pub mod log;
pub mod moment;
pub mod plan;
pub mod query;
pub mod source;
pub mod terms;
pub mod timestamp;
pub mod token;
mod trie;
pub mod usage;
