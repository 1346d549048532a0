//! The edge.

pub mod journal;
pub mod store;
