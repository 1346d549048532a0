//! The one integration test binary.

mod allocations;
mod arbitrage;
mod captures;
mod causality;
mod cli;
mod documents;
mod evaluate;
mod indicators;
mod kill;
mod microstructure;
mod orderbook_features;
mod power;
mod quality;
mod simulation;
mod tapes;
mod tidy;
mod trading;

/// The workspace's root.
fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
