//! What the markets say: features, arbitrage, what venues differ in, and funding.

use serde::Serialize;

/// One instrument of one venue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Market {
    /// Venue.
    pub venue: String,
    /// Instrument, such as `BTC/USD`.
    pub instrument: String,
}

/// The features that a model sees, of every instrument.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FeatureTable {
    /// Whose values they are, in the order of [`FeatureRow::values`].
    pub instruments: Vec<Market>,
    /// One row per feature, those of a group together.
    pub rows: Vec<FeatureRow>,
}

impl FeatureTable {
    /// How many features are known of the instrument in this place.
    #[must_use]
    pub fn known(&self, place: usize) -> usize {
        let known = |row: &&FeatureRow| row.values.get(place).is_some_and(Option::is_some);
        self.rows.iter().filter(known).count()
    }

    /// The rows by group: runs of rows whose group has the same name.
    pub fn groups(&self) -> impl Iterator<Item = &[FeatureRow]> {
        self.rows.chunk_by(|a, b| a.group == b.group)
    }
}

/// One feature of every instrument.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FeatureRow {
    /// Name in the feature table.
    pub name: String,
    /// What it is about, such as `book`.
    pub group: String,
    /// Unit in the feature table.
    pub unit: String,
    /// Its value, where there is one, per instrument of [`FeatureTable::instruments`].
    pub values: Vec<Option<f64>>,
}

/// Arbitrage between venues, after all fees.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Arbitrage {
    /// Ordered pairs of instruments that are compared.
    pub watched: u64,
    /// Opportunities since the account was opened.
    pub opened: u64,
    /// Opportunities that could not be kept.
    pub dropped: u64,
    /// The open ones; those that bring most first.
    pub open: Vec<Opportunity>,
    /// The newest of those that are over, newest first.
    pub closed: Vec<Opportunity>,
    /// The pairs that had any; those that had most first.
    pub pairs: Vec<ArbitragePair>,
}

/// One opportunity: buy at one venue and sell at another at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Opportunity {
    /// Its number.
    pub id: u64,
    /// Where to buy.
    pub buy: Market,
    /// Where to sell.
    pub sell: Market,
    /// The currency of its money; currencies that differ count at par.
    pub currency: String,
    /// When it opened, unix nanoseconds.
    pub opened_ns: u64,
    /// How long it lasted, or lasts so far, in milliseconds.
    pub lifetime_ms: u64,
    /// What it brings as it was seen last.
    pub last: Gain,
    /// What it brought when it brought most.
    pub best: Gain,
    /// Why it is over: `price`, `stale` or `gap`; `None` while it is open.
    pub closed: Option<String>,
    /// Whether orders sent when it opened would have filled.
    pub trial: Trial,
}

/// What can be traded at once, and what that brings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Gain {
    /// How much, exact decimal text.
    pub qty: String,
    /// What it brings after the fees of both orders.
    pub net: f64,
    /// The same in basis points of what buying costs.
    pub net_bps: f64,
    /// There may be more: only so many levels of a book are looked at.
    pub cut: bool,
}

/// What came of the orders that were tried on paper when an opportunity opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Trial {
    /// An order still travels.
    #[default]
    Pending,
    /// The process ended before its orders arrived.
    Lost,
    /// Both orders met their books.
    Done {
        /// Both got all they asked for.
        filled: bool,
        /// What the buying order got, exact decimal text.
        bought: String,
        /// What the selling order got, exact decimal text.
        sold: String,
        /// Bought less sold, exact decimal text: long when positive.
        unhedged: String,
        /// What the part that both got brings after fees.
        net: f64,
    },
}

/// What became of the opportunities of one ordered pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ArbitragePair {
    /// Where to buy.
    pub buy: Market,
    /// Where to sell.
    pub sell: Market,
    /// The currency of its money.
    pub currency: String,
    /// Opportunities that opened.
    pub opened: u64,
    /// Those of them that are over.
    pub closed: u64,
    /// Mean time that they lasted, in milliseconds.
    pub lifetime_mean_ms: Option<u64>,
    /// An upper bound of the median, a power of two, in milliseconds; the median is at least half of it.
    pub lifetime_median_ms: Option<u64>,
    /// Sum of what they brought when they brought most.
    pub net: f64,
    /// Trials that are over.
    pub tried: u64,
    /// Those of them that got all on both sides.
    pub filled: u64,
    /// Sum of what the trials brought.
    pub tried_net: f64,
}

/// What the instruments of one asset differ in.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Spreads {
    /// The asset, such as `BTC`.
    pub asset: String,
    /// Its instruments.
    pub instruments: Vec<Market>,
    /// By instrument, against each instrument in the same order; nothing against itself, and nothing
    /// of a book that is not live.
    pub against: Vec<Vec<Option<Spread>>>,
}

/// What one instrument differs in from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How far its mid lies above the other's, in basis points.
    pub mid_bps: f64,
    /// How far its bid lies above the other's ask, in basis points: what selling here and buying there
    /// brings before fees. Mostly negative.
    pub crossed_bps: f64,
}

/// How alarming a rate of funding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FundingLevel {
    /// It is not.
    #[default]
    Calm,
    /// It is dear.
    Warning,
    /// So dear that no new risk is taken.
    Blocking,
}

impl FundingLevel {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Warning => "warning",
            Self::Blocking => "blocking",
        }
    }
}

/// Funding of one perpetual contract.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Funding {
    /// Instrument.
    pub instrument: String,
    /// Venue.
    pub venue: String,
    /// When it is settled next, unix nanoseconds.
    pub next_ns: Option<u64>,
    /// How long an interval is, in seconds.
    pub interval_s: Option<u32>,
    /// The rate of the next settlement, in basis points of notional; longs pay a positive rate.
    pub rate_bps: Option<f64>,
    /// That rate over a day of such intervals, in basis points.
    pub per_day_bps: Option<f64>,
    /// What the venue predicts for the interval after this one, in basis points.
    pub next_rate_bps: Option<f64>,
    /// How alarming the rate is.
    pub level: FundingLevel,
    /// What is held, if anything.
    pub holding: Option<FundedHolding>,
    /// What the next 24 h will cost what is held, in the currency of account; negative is income.
    pub predicted: Option<f64>,
    /// Paid since the account was opened, in the currency of account; negative is income.
    pub paid: f64,
    /// When a long should act.
    pub long: Advice,
    /// When a short should act.
    pub short: Advice,
}

/// A position that pays or receives funding.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FundedHolding {
    /// `long` or `short`.
    pub side: String,
    /// Exact quantity as decimal text.
    pub qty: String,
    /// Since when it is held, unix nanoseconds.
    pub since_ns: Option<u64>,
    /// Paid since then, in the currency of account; negative is income.
    pub paid: Option<f64>,
}

/// When to enter and exit, as far as funding is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// Enter.
    pub enter: Timing,
    /// Exit.
    pub exit: Timing,
}

/// When to act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "when", rename_all = "lowercase")]
pub enum Timing {
    /// It makes no difference.
    #[default]
    Anytime,
    /// Before a settlement.
    Before {
        /// When it settles, unix nanoseconds.
        ns: u64,
    },
    /// After a settlement.
    After {
        /// When it settles, unix nanoseconds.
        ns: u64,
    },
}
