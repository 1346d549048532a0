//! The one integration test binary.

mod allocations;
mod captures;
mod cli;
mod documents;
mod evaluate;
mod kill;
mod power;
mod simulation;
mod tidy;
mod trading;

/// The workspace's root.
fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
