//! The edge.

pub mod net;
