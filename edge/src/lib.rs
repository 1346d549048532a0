//! The edge: verified market data, features, decisions, risk and paper execution.
//!
//! The trainer reuses the policy, the replay and the journal; everything else is public for the
//! tests and benches of this workspace only and promises nothing.

pub mod catalogue;
pub mod clock;
pub mod config;
pub mod control;
pub mod desk;
pub mod evaluate;
pub mod export;
pub mod feed;
pub mod journal;
pub mod net;
pub mod policy;
pub mod record;
pub mod recovery;
pub mod replay;
pub mod run;
pub mod store;
pub mod telemetry;
pub mod venue;
pub mod view;
pub mod web;
