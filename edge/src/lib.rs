//! The edge.

pub mod net;
pub mod telemetry;
