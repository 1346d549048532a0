//! What the bench binary is made of: tapes, the ordinary way to do the same work, and counters.

pub mod counting;
pub mod cpu;
pub mod ordinary;
pub mod stats;
pub mod tape;
