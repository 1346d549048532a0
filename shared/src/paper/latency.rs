//! How long a request takes to the venue and its answer back.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// Round trips kept per venue.
pub const ROUND_TRIPS: usize = 256;
/// Round trips that must have been measured before they replace the prior.
pub const ROUND_TRIPS_NEEDED: usize = 16;

/// How latencies are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Latency {
    /// Always the same. A negative entry means that the venue refuses every request, which is known
    /// here after that much time.
    Constant {
        /// From here to the venue, in nanoseconds.
        entry_ns: i64,
        /// Back, in nanoseconds.
        response_ns: i64,
    },
    /// Half of a round trip drawn from those measured; until [`ROUND_TRIPS_NEEDED`] were, uniform
    /// between the given least and most.
    Measured {
        /// From here to the venue, in nanoseconds, least and most.
        entry_ns: (u64, u64),
        /// Back, in nanoseconds, least and most.
        response_ns: (u64, u64),
    },
    /// Interpolated between recorded requests, sorted by request time.
    Recorded(Vec<Row>),
}

/// One recorded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// When it was sent, in nanoseconds since the epoch.
    pub request: i64,
    /// When the venue took it; zero or less when it refused.
    pub venue: i64,
    /// When the answer was here.
    pub response: i64,
}
