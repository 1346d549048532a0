//! Recorded markets of any origin, through the edge's own engine, into a store of steps.

use std::fmt;

pub mod store;
mod table;

pub use store::{ALWAYS, Kept, Origin, Put, Store};
pub use table::Head;

/// Why history cannot be read or kept: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryError(String);

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HistoryError {}
