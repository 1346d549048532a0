//! Simulated venues.
fn main() {}
