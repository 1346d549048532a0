//! What the desk tells the page, as plain values.
//!
//! The desk owns all trading state. Several times a second it fills one [`Snapshot`] and publishes
//! it through a `watch` channel; the page, the JSON API, the metrics and the health check read
//! nothing else. A value that is not known is `None` and is shown as an em dash; it is never zero.
//!
//! Units are in the names: `_ns` is nanoseconds (unix time, or a duration where said), `_ms`, `_us`
//! and `_s` likewise, `_bps` is one hundredth of a percent. Lists of events are newest first and
//! bounded by the constants below; [`Snapshot::bound`] cuts them.

mod data;
mod risk;
mod signals;
mod trading;

pub use data::*;
pub use risk::*;
pub use signals::*;
pub use trading::*;

use serde::Serialize;
use std::cmp::Reverse;

/// Points of the equity history that the page keeps and draws.
pub const EQUITY_POINTS: usize = 600;
/// Fills that the page keeps.
pub const FILLS: usize = 50;
/// Decisions that the page keeps.
pub const DECISIONS: usize = 50;
/// Entries of the gap ledger that the page keeps.
pub const GAPS: usize = 100;
/// Alarms that the page keeps.
pub const ALARMS: usize = 50;
/// Working orders that the page keeps.
pub const ORDERS: usize = 128;
/// Rows of attribution by instrument and by reason, of performance by instrument and by strategy, and
/// of funding, that the page keeps of each.
pub const ROWS: usize = 64;
/// Scopes of risk that the page keeps; the restricted ones stay.
pub const SCOPES: usize = 96;
/// Limits that the page keeps; the tripped and the fullest ones stay.
pub const LIMITS: usize = 160;
/// Violations that the page keeps.
pub const VIOLATIONS: usize = 20;
/// Runs of denials that the page keeps.
pub const DENIALS: usize = 20;
/// Reasons of the edge's state that the page keeps.
pub const REASONS: usize = 16;
/// Codes of denials that are counted.
pub const DENIAL_CODES: usize = 64;
/// Differences of a reconciliation that the page keeps; those that nothing explains stay.
pub const DIFFERENCES: usize = 50;
/// Venues whose paper terms the page keeps.
pub const PAPER_VENUES: usize = 16;
/// Switches of a venue's paper terms that the page keeps.
pub const SWITCHES: usize = 16;
/// Features that the page keeps.
pub const FEATURES: usize = 64;
/// Instruments whose features the page keeps.
pub const MARKETS: usize = 64;
/// Open opportunities that the page keeps; those that bring most stay.
pub const OPEN_OPPORTUNITIES: usize = 32;
/// Opportunities that are over and that the page keeps.
pub const CLOSED_OPPORTUNITIES: usize = 32;
/// Pairs with opportunities that the page keeps; those that had most stay.
pub const PAIRS: usize = 64;
/// Assets whose venues the page compares.
pub const COMPARED_ASSETS: usize = 16;
/// Instruments of an asset that the page compares.
pub const COMPARED_MARKETS: usize = 16;

/// The whole state of one edge at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// The mode word, in capitals: `PAPER`.
    pub mode: String,
    /// The name of this machine.
    pub node: String,
    /// Version of the program.
    pub version: String,
    /// The schema's fingerprint, hexadecimal.
    pub schema_id: String,
    /// Fingerprint of the resolved configuration, hexadecimal.
    pub config_hash: String,
    /// When the process started, unix nanoseconds.
    pub started_ns: u64,
    /// When this snapshot was taken, unix nanoseconds.
    pub now_ns: u64,
    /// Whether the desk is able and allowed to trade.
    pub health: Health,
    /// Money.
    pub account: Account,
    /// Open positions.
    pub positions: Vec<Position>,
    /// Working orders.
    pub orders: Vec<Order>,
    /// The last fills, newest first.
    pub fills: Vec<Fill>,
    /// Fills since start.
    pub fill_counts: FillCounts,
    /// Where the profit came from.
    pub attribution: Attribution,
    /// How well it went.
    pub performance: Performance,
    /// Funding of perpetual contracts.
    pub funding: Vec<Funding>,
    /// What risk allows, and how near its limits are.
    pub risk: Risk,
    /// Whether what is known here equals what the venues know.
    pub reconciliation: Reconciliation,
    /// The terms on which the paper venue trades, one entry per venue.
    pub paper: Vec<PaperTerms>,
    /// The last decisions, newest first.
    pub decisions: Vec<Decision>,
    /// One entry per venue session.
    pub venues: Vec<Venue>,
    /// One entry per book.
    pub books: Vec<Book>,
    /// The quality of data, one entry per instrument.
    pub quality: Vec<Quality>,
    /// Drift of features, one entry per instrument; empty where it is not watched.
    pub drift: Vec<Drift>,
    /// The end of the gap ledger, newest first.
    pub gaps: Vec<Gap>,
    /// Alarms, newest first.
    pub alarms: Vec<Alarm>,
    /// The current feature values.
    pub features: FeatureTable,
    /// Arbitrage between venues.
    pub arbitrage: Arbitrage,
    /// What venues differ in, one entry per asset.
    pub spreads: Vec<Spreads>,
    /// The process and its host.
    pub system: System,
    /// What is halted, why, and how to clear it: the halted ones of `risk.scopes`.
    pub halts: Vec<Halt>,
    /// What decides.
    pub model: Model,
}

impl Snapshot {
    /// A snapshot before anything is known: not ready, no money, no venues.
    #[must_use]
    pub fn empty(mode: &str, node: &str, version: &str, started_ns: u64) -> Self {
        Self {
            mode: mode.to_owned(),
            node: node.to_owned(),
            version: version.to_owned(),
            started_ns,
            now_ns: started_ns,
            health: Health {
                reasons: vec![Reason {
                    code: "starting".to_owned(),
                    text: "The desk has not finished starting.".to_owned(),
                    since_ns: started_ns,
                    command: None,
                }],
                ..Health::default()
            },
            ..Self::default()
        }
    }

    /// Cuts every list to its bound: the newest events stay, the newest equity points, and what an
    /// operator must not miss. For that, limits come out with the tripped and then the fullest first,
    /// scopes with the most restricted first, differences with the unexplained first, opportunities
    /// with those that bring most first.
    pub fn bound(&mut self) {
        let surplus = self
            .account
            .equity_history
            .len()
            .saturating_sub(EQUITY_POINTS);
        self.account.equity_history.drain(..surplus);
        self.health.reasons.truncate(REASONS);
        self.fills.truncate(FILLS);
        self.decisions.truncate(DECISIONS);
        self.gaps.truncate(GAPS);
        self.alarms.truncate(ALARMS);
        self.orders.truncate(ORDERS);
        self.funding.truncate(ROWS);
        for rows in [
            &mut self.attribution.by_instrument,
            &mut self.attribution.by_reason,
        ] {
            rows.truncate(ROWS);
        }
        for rows in [
            &mut self.performance.by_instrument,
            &mut self.performance.by_strategy,
        ] {
            rows.truncate(ROWS);
        }
        self.bound_signals();
        self.paper.truncate(PAPER_VENUES);
        for terms in &mut self.paper {
            terms.switches.truncate(SWITCHES);
        }
        let differences = &mut self.reconciliation.differences;
        differences.sort_by_key(|difference| difference.explained);
        differences.truncate(DIFFERENCES);
        let risk = &mut self.risk;
        risk.scopes.sort_by_key(|scope| Reverse(scope.state));
        risk.scopes.truncate(SCOPES);
        risk.limits.sort_by(|a, b| {
            let fullness = |limit: &Limit| limit.used().unwrap_or(-1.0);
            (b.tripped.cmp(&a.tripped)).then(fullness(b).total_cmp(&fullness(a)))
        });
        risk.limits.truncate(LIMITS);
        risk.violations.recent.truncate(VIOLATIONS);
        risk.denials.truncate(DENIALS);
        risk.denial_counts.truncate(DENIAL_CODES);
    }

    fn bound_signals(&mut self) {
        let features = &mut self.features;
        features.instruments.truncate(MARKETS);
        features.rows.truncate(FEATURES);
        for row in &mut features.rows {
            row.values.truncate(MARKETS);
        }
        let arbitrage = &mut self.arbitrage;
        let most = |a: &Opportunity, b: &Opportunity| b.last.net.total_cmp(&a.last.net);
        arbitrage.open.sort_by(most);
        arbitrage.open.truncate(OPEN_OPPORTUNITIES);
        arbitrage.closed.truncate(CLOSED_OPPORTUNITIES);
        arbitrage.pairs.sort_by_key(|pair| Reverse(pair.opened));
        arbitrage.pairs.truncate(PAIRS);
        self.spreads.truncate(COMPARED_ASSETS);
        for spreads in &mut self.spreads {
            spreads.instruments.truncate(COMPARED_MARKETS);
            spreads.against.truncate(COMPARED_MARKETS);
            for row in &mut spreads.against {
                row.truncate(COMPARED_MARKETS);
            }
        }
    }
}

/// Whether the desk is able and allowed to trade, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Health {
    /// Recovery is over and the desk takes events.
    pub ready: bool,
    /// The portfolio is halted: no order that adds risk is sent until an operator resumes it. A venue
    /// or an instrument that is halted is among the reasons; the rest still trades.
    pub halted: bool,
    /// Market data is too old or too broken to decide on.
    pub stale: bool,
    /// Why any of the three is not as it should be, and everything that is restricted.
    pub reasons: Vec<Reason>,
}

/// One reason for a state that is not plain running.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Reason {
    /// A stable code for programs.
    pub code: String,
    /// One sentence for people.
    pub text: String,
    /// Since when, unix nanoseconds.
    pub since_ns: u64,
    /// The exact command that ends it, where one does.
    pub command: Option<String>,
}

/// Money. All amounts are in `currency`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Account {
    /// The currency of account, such as `USD`.
    pub currency: String,
    /// Cash plus marked positions.
    pub equity: Option<f64>,
    /// Cash.
    pub cash: Option<f64>,
    /// Fall from the high-water mark in percent, zero or positive.
    pub drawdown_pct: Option<f64>,
    /// The highest equity seen.
    pub high_water_mark: Option<f64>,
    /// Change of equity since 00:00 UTC.
    pub day_pnl: Option<f64>,
    /// Realised profit since the account was opened, before fees.
    pub realised: Option<f64>,
    /// Profit of open positions at their marks.
    pub unrealised: Option<f64>,
    /// Fees paid since the account was opened, positive.
    pub fees: Option<f64>,
    /// Equity over time, oldest first: (unix nanoseconds, equity).
    pub equity_history: Vec<(u64, f64)>,
}

/// One open position.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Position {
    /// Instrument, such as `BTC/USD`.
    pub instrument: String,
    /// Venue.
    pub venue: String,
    /// `long` or `short`.
    pub side: String,
    /// Exact quantity as decimal text.
    pub qty: String,
    /// Average entry price.
    pub avg_price: Option<f64>,
    /// The price at which it is marked.
    pub mark: Option<f64>,
    /// Profit at the mark.
    pub unrealised: Option<f64>,
    /// Quantity times mark.
    pub notional: Option<f64>,
}

/// One decision and what risk said to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Decision {
    /// When, unix nanoseconds.
    pub ns: u64,
    /// Instrument.
    pub instrument: String,
    /// `sell`, `hold` or `buy`.
    pub action: String,
    /// Position size asked for, as a fraction in 0 to 1.
    pub size: Option<f64>,
    /// Confidence in 0 to 1.
    pub confidence: Option<f64>,
    /// Expected return in basis points.
    pub expected_bps: Option<f64>,
    /// What risk said.
    pub verdict: Verdict,
    /// Time from the question to the answer, in microseconds.
    pub latency_us: u64,
}

/// What risk said to a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// It may be carried out.
    #[default]
    Allowed,
    /// It asks for no order.
    Idle {
        /// A stable code.
        code: String,
        /// One sentence.
        reason: String,
    },
    /// It may not.
    Denied {
        /// A stable code.
        code: String,
        /// One sentence.
        reason: String,
    },
}

/// One venue session.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Venue {
    /// Venue name.
    pub name: String,
    /// Host it is connected to.
    pub host: String,
    /// `live`, `connecting`, `backoff` and so on.
    pub state: String,
    /// Why it is not live.
    pub reason: Option<String>,
    /// When the current connection was made, unix nanoseconds.
    pub connected_since_ns: Option<u64>,
    /// Reconnections since start.
    pub reconnects: u64,
    /// When the last message came, unix nanoseconds.
    pub last_message_ns: Option<u64>,
    /// Frames since start.
    pub frames: u64,
    /// Bytes since start.
    pub bytes: u64,
    /// Median of receive time minus venue time, in milliseconds. Signed: clocks differ.
    pub latency_p50_ms: Option<f64>,
    /// 99th percentile of receive time minus venue time, in milliseconds. Signed: clocks differ.
    pub latency_p99_ms: Option<f64>,
    /// Estimated venue clock minus own clock, in milliseconds.
    pub clock_offset_ms: Option<f64>,
    /// Frames that could not be parsed, since start.
    pub parse_errors: u64,
    /// Book resynchronisations since start.
    pub resyncs: u64,
}

/// A price and the quantity offered there, both exact decimal text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// Price.
    pub price: String,
    /// Quantity.
    pub qty: String,
}

/// Gaps since start, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GapCounts {
    /// A sequence number was missing.
    pub sequence: u64,
    /// The venue's checksum did not match the book.
    pub checksum: u64,
    /// Best bid at or above best ask.
    pub crossed: u64,
    /// A bounded buffer was full.
    pub overflow: u64,
    /// A frame could not be understood.
    pub unparsable: u64,
    /// Nothing came for too long.
    pub stale: u64,
    /// The connection was lost.
    pub disconnect: u64,
}

impl GapCounts {
    /// Kind and count, in a fixed order.
    #[must_use]
    pub fn kinds(&self) -> [(&'static str, u64); 7] {
        [
            ("sequence", self.sequence),
            ("checksum", self.checksum),
            ("crossed", self.crossed),
            ("overflow", self.overflow),
            ("unparsable", self.unparsable),
            ("stale", self.stale),
            ("disconnect", self.disconnect),
        ]
    }

    /// All gaps together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.kinds().iter().map(|(_, count)| count).sum()
    }
}

/// One order book.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Book {
    /// Instrument.
    pub instrument: String,
    /// Venue.
    pub venue: String,
    /// Whether it may be believed: a book that is not live yields no price.
    pub live: bool,
    /// Why it is stale.
    pub stale_reason: Option<String>,
    /// Since when it is live or stale, unix nanoseconds.
    pub since_ns: u64,
    /// Best bid, only when live.
    pub best_bid: Option<Quote>,
    /// Best ask, only when live.
    pub best_ask: Option<Quote>,
    /// Spread over mid in basis points.
    pub spread_bps: Option<f64>,
    /// Mid price.
    pub mid: Option<f64>,
    /// Imbalance of the near levels in −1 (all asks) to 1 (all bids).
    pub imbalance: Option<f64>,
    /// Levels held: bids, asks.
    pub depth: [u64; 2],
    /// Gaps since start, by kind.
    pub gaps: GapCounts,
    /// Venue checksums that matched.
    pub checksums_verified: u64,
    /// Venue checksums that did not match.
    pub checksums_failed: u64,
    /// Best-bid/ask messages that equalled the rebuilt book.
    pub bbo_equal: u64,
    /// Best-bid/ask messages that differed from the rebuilt book.
    pub bbo_different: u64,
    /// Book events applied.
    pub events: u64,
    /// Trades seen.
    pub trades: u64,
}

/// One entry of the gap ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// When it was found, unix nanoseconds.
    pub ns: u64,
    /// Venue.
    pub venue: String,
    /// Instrument.
    pub instrument: String,
    /// Kind, one of [`GapCounts::kinds`].
    pub kind: String,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub got: String,
    /// How long the book was stale, in milliseconds; `None` while it still is.
    pub duration_ms: Option<u64>,
}

/// One alarm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// When, unix nanoseconds.
    pub ns: u64,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// A stable code.
    pub code: String,
    /// One sentence.
    pub text: String,
}

/// The process and its host.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct System {
    /// Resident memory in bytes.
    pub rss_bytes: Option<u64>,
    /// Anonymous (private, not file-backed) resident memory in bytes.
    pub anon_bytes: Option<u64>,
    /// CPU temperature in degrees Celsius.
    pub cpu_temp_c: Option<f64>,
    /// Bytes written to disk, scaled to a day.
    pub disk_written_bytes_per_day: Option<u64>,
    /// The journal.
    pub journal: Journal,
    /// The store of features, where there is one.
    pub features: Option<FeatureStore>,
    /// Bounded channels, in the order events travel.
    pub channels: Vec<Channel>,
    /// Median time from frame to features, in microseconds.
    pub frame_to_features_p50_us: Option<f64>,
    /// 99th percentile of the time from frame to features, in microseconds.
    pub frame_to_features_p99_us: Option<f64>,
    /// Seconds since start.
    pub uptime_s: u64,
    /// Threads of the process.
    pub threads: Option<u64>,
}

/// The journal's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Journal {
    /// Events written since start.
    pub events: u64,
    /// Bytes written since start.
    pub bytes: u64,
    /// Events dropped since start.
    pub dropped: u64,
    /// Why writing is suspended, where it is.
    pub suspended: Option<String>,
}

/// The store of features' counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FeatureStore {
    /// Vectors committed since start.
    pub vectors: u64,
    /// Bytes made durable since start.
    pub bytes: u64,
    /// Vectors dropped since start.
    pub dropped: u64,
    /// Blocks deleted since start to stay within the bound.
    pub deleted_blocks: u64,
    /// Time of the oldest vector in the file, unix nanoseconds.
    pub oldest_ns: Option<u64>,
    /// Time of the newest vector committed since start, unix nanoseconds.
    pub newest_ns: Option<u64>,
    /// Why storing is suspended, where it is.
    pub suspended: Option<String>,
}

/// One bounded channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// What it carries.
    pub name: String,
    /// Messages waiting now.
    pub depth: u64,
    /// Messages it can hold.
    pub capacity: u64,
}

/// One halt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Halt {
    /// `portfolio`, `venue` or `instrument`.
    pub scope: String,
    /// Which one.
    pub what: String,
    /// Why.
    pub why: String,
    /// Since when, unix nanoseconds.
    pub since_ns: u64,
    /// What an operator has to do.
    pub how_to_clear: String,
}

/// What decides: a model, or the baseline policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Name.
    pub name: String,
    /// Kind, such as `baseline`.
    pub kind: String,
    /// Version.
    pub version: String,
    /// Seconds since it was made.
    pub age_s: Option<u64>,
    /// Seconds until it expires; negative when it has.
    pub expires_in_s: Option<i64>,
}
