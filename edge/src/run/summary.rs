//! What a run came to, for people and for scripts.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// What a run came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// How long it ran, in seconds.
    pub seconds: u64,
    /// Frames received.
    pub frames: u64,
    /// Records applied.
    pub events: u64,
    /// Books that came back after a gap.
    pub resyncs: u64,
    /// Gaps by kind.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Books that are live now, and all.
    pub books_live: [usize; 2],
    /// Decisions made.
    pub decisions: u64,
    /// Orders sent.
    pub orders: u64,
    /// Fills.
    pub fills: u64,
    /// Equity now, as exact text.
    pub equity: String,
    /// Decoding a frame, in microseconds: median and 99th percentile.
    pub decode_us: [f64; 2],
    /// Folding a market event into book and features, in microseconds, likewise.
    pub fold_us: [f64; 2],
    /// From a frame's arrival to its features, with the synchroniser's hold, likewise.
    pub frame_to_features_us: [f64; 2],
    /// Journal: events, compressed bytes, events dropped.
    pub journal: [u64; 3],
    /// Store of features: vectors, bytes made durable, vectors dropped; `null` where there is none.
    pub features: Option<[u64; 3]>,
    /// Updates lost because the desk was behind.
    pub overflowed: u64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Anonymous memory in bytes.
    pub anon_bytes: u64,
    /// The state's fingerprint.
    pub state_hash: String,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gaps: Vec<_> = self
            .gaps
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        let [live, books] = self.books_live;
        let pair = |[p50, p99]: [f64; 2]| format!("p50 {p50:.1}, p99 {p99:.1}");
        let [journaled, bytes, dropped] = self.journal;
        writeln!(f, "ran              {} s", self.seconds)?;
        writeln!(f, "frames           {}", self.frames)?;
        writeln!(f, "events           {}", self.events)?;
        writeln!(f, "books live       {live} of {books}")?;
        writeln!(f, "resyncs          {}", self.resyncs)?;
        writeln!(
            f,
            "gaps             {}",
            if gaps.is_empty() {
                "none".to_owned()
            } else {
                gaps.join(", ")
            }
        )?;
        writeln!(f, "decisions        {}", self.decisions)?;
        writeln!(f, "orders           {}", self.orders)?;
        writeln!(f, "fills            {}", self.fills)?;
        writeln!(f, "equity           {}", self.equity)?;
        writeln!(f, "decode           {} µs a frame", pair(self.decode_us))?;
        writeln!(f, "fold             {} µs an event", pair(self.fold_us))?;
        writeln!(
            f,
            "frame→features   {} µs, hold included",
            pair(self.frame_to_features_us)
        )?;
        writeln!(
            f,
            "journal          {journaled} events, {bytes} bytes, {dropped} dropped"
        )?;
        match self.features {
            None => writeln!(f, "features         not stored")?,
            Some([vectors, bytes, dropped]) => writeln!(
                f,
                "features         {vectors} vectors, {bytes} bytes, {dropped} dropped"
            )?,
        }
        writeln!(f, "overflowed       {}", self.overflowed)?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "memory           {:.1} MiB resident, {:.1} MiB anonymous",
            mib(self.rss_bytes),
            mib(self.anon_bytes)
        )?;
        write!(f, "state            {}", self.state_hash)
    }
}
