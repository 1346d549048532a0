//! What a session must know of a venue's dialect, and the closed set of dialects.

/// How patient and how eager a session is with a venue. Times are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A connection on which nothing arrives for this long is made anew.
    pub silence: u64,
    /// A book about which nothing arrives for this long, while its connection talks, is lost and
    /// asked for again. Generous: quiet markets are legitimate.
    pub stale: u64,
    /// A snapshot must come within this time of being asked for, else it is asked for again.
    pub snapshot: u64,
    /// Refreshes (snapshots asked for, books resubscribed) that may be made at once.
    pub refresh_capacity: u32,
    /// One more refresh becomes possible each time this has passed.
    pub refresh_every: u64,
    /// A connection this old is made anew, before the venue cuts it.
    pub max_age: u64,
}
