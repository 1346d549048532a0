//! The one table of features: what is known of a market, and what of it the policy sees.
//!
//! Every feature is causal: its value at an instant follows from the events up to it. Memory grows
//! with events and seconds through [`Features::update`] and [`Features::advance`]; [`Features::read`]
//! changes nothing. All cost O(1) per event and allocate nothing. A value that is not known (a window
//! not yet observed in full since the last gap, no second venue) is marked so; it is never guessed.
//! This folder is the only place where exact integers become floating-point numbers.
//!
//! The table is made of [`BLOCKS`], one for each group and timeframe. A model sees the part of it
//! that [`SELECTION`] names.

pub mod alpha158;
pub mod bars;
pub mod book;
pub mod cross;
pub mod drift;
pub mod flow;
pub mod funding;
pub mod impact;
pub mod indicators;
pub mod intensity;
pub mod leadlag;
pub mod liquidity;
pub mod microprice;
pub mod orderflow;
pub mod regime;
pub mod rolling;
pub mod samples;
pub mod second;
pub mod table;
pub mod toxicity;
pub mod volatility;

use alloc::boxed::Box;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::book::Book;
use crate::event::{Body, Candle, Update};
use crate::instrument::Instrument;
use crate::num::{Price, Qty, pow10};
use crate::time::{SECONDS, Time};
use bars::{Bar, Bars, Timeframe};
use book::Top;
use second::{Clock, Second, Step};
pub use table::{Row, Unit, Values};

/// Where a feature comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The book as it stands.
    Book,
    /// Changes of the book.
    OrderFlow,
    /// How the book is filled and emptied.
    Liquidity,
    /// Trades by their aggressor.
    Flow,
    /// How fast trades come.
    Intensity,
    /// Volume-synchronised toxicity.
    Toxicity,
    /// What trades do to the price.
    Impact,
    /// How much the price moves.
    Volatility,
    /// What kind of market it is.
    Regime,
    /// Other venues.
    Cross,
    /// Perpetual funding.
    Funding,
    /// Bars by activity.
    Activity,
    /// Indicators on bars of time.
    Indicators,
    /// Qlib's 158 bar factors.
    Alpha158,
}

impl Group {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::OrderFlow => "order_flow",
            Self::Liquidity => "liquidity",
            Self::Flow => "flow",
            Self::Intensity => "intensity",
            Self::Toxicity => "toxicity",
            Self::Impact => "impact",
            Self::Volatility => "volatility",
            Self::Regime => "regime",
            Self::Cross => "cross",
            Self::Funding => "funding",
            Self::Activity => "activity",
            Self::Indicators => "indicators",
            Self::Alpha158 => "alpha158",
        }
    }
}

/// A run of rows of the table.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Their group.
    pub group: Group,
    /// The bars that they are about, for groups that exist once for each timeframe.
    pub timeframe: Option<Timeframe>,
    /// The rows.
    pub rows: &'static [Row],
}

const fn block(group: Group, rows: &'static [Row]) -> Block {
    Block {
        group,
        timeframe: None,
        rows,
    }
}

const fn bar_block(group: Group, timeframe: Timeframe, rows: &'static [Row]) -> Block {
    Block {
        group,
        timeframe: Some(timeframe),
        rows,
    }
}

/// The timeframe of [`Group::Alpha158`].
pub const ALPHA158_TIMEFRAME: Timeframe = Timeframe::Minute1;

/// The table, block after block. Its order is the order of [`Table`].
pub const BLOCKS: [Block; 20] = [
    block(Group::Book, &book::BookFeature::ROWS),
    block(Group::OrderFlow, &orderflow::OrderFlowFeature::ROWS),
    block(Group::Liquidity, &liquidity::LiquidityFeature::ROWS),
    block(Group::Flow, &flow::FlowFeature::ROWS),
    block(Group::Intensity, &intensity::IntensityFeature::ROWS),
    block(Group::Toxicity, &toxicity::ToxicityFeature::ROWS),
    block(Group::Impact, &impact::ImpactFeature::ROWS),
    block(Group::Volatility, &volatility::VolatilityFeature::ROWS),
    block(Group::Regime, &regime::RegimeFeature::ROWS),
    block(Group::Cross, &cross::CrossFeature::ROWS),
    block(Group::Funding, &funding::FundingFeature::ROWS),
    block(Group::Activity, &bars::ActivityFeature::ROWS),
    bar_block(Group::Indicators, Timeframe::Second1, &indicators::ROWS),
    bar_block(Group::Indicators, Timeframe::Minute1, &indicators::ROWS),
    bar_block(Group::Indicators, Timeframe::Minute5, &indicators::ROWS),
    bar_block(Group::Indicators, Timeframe::Minute15, &indicators::ROWS),
    bar_block(Group::Indicators, Timeframe::Hour1, &indicators::ROWS),
    bar_block(Group::Indicators, Timeframe::Hour4, &indicators::ROWS),
    bar_block(Group::Indicators, Timeframe::Day1, &indicators::ROWS),
    bar_block(Group::Alpha158, ALPHA158_TIMEFRAME, &alpha158::ROWS),
];

/// The first place of a block in the table.
const fn start_of(block: usize) -> usize {
    let (mut start, mut index) = (0, 0);
    while index < block {
        start += BLOCKS[index].rows.len();
        index += 1;
    }
    start
}

/// Features in the table.
pub const TABLE_LEN: usize = start_of(BLOCKS.len());

/// The whole table of one instrument at one moment.
pub type Table = Values<TABLE_LEN>;

/// One feature of the table.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Its place in the table.
    pub place: usize,
    /// Its group.
    pub group: Group,
    /// The bars that it is about.
    pub timeframe: Option<Timeframe>,
    /// The rest.
    pub row: &'static Row,
}

/// `name`, or `name@timeframe`.
impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timeframe {
            None => f.pad(self.row.name),
            Some(timeframe) => write!(f, "{}@{}", self.row.name, timeframe.name()),
        }
    }
}

impl Feature {
    /// Whether this is how it is called.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        match (self.timeframe, name.split_once('@')) {
            (None, None) => self.row.name == name,
            (Some(timeframe), Some((row, of))) => self.row.name == row && timeframe.name() == of,
            _ => false,
        }
    }
}

/// All features, in the order of the table.
pub fn features() -> impl Iterator<Item = Feature> {
    let rows = BLOCKS
        .iter()
        .flat_map(|block| block.rows.iter().map(move |row| (block, row)));
    rows.enumerate().map(|(place, (block, row))| Feature {
        place,
        group: block.group,
        timeframe: block.timeframe,
        row,
    })
}

/// What a model sees, by row name and timeframe; at most 64, one bit each in [`Vector::valid`].
///
/// The book, its changes and the trades come first, since they foretell most; then what kind of market
/// it is, the other venues, funding, and a few indicators on longer bars.
pub const SELECTION: [(&str, Option<Timeframe>); 64] = [
    on_events("book_imbalance_1"),
    on_events("book_imbalance_5"),
    on_events("book_imbalance_10"),
    on_events("book_imbalance_near"),
    on_events("weighted_mid_deviation"),
    on_events("microprice_deviation"),
    on_events("spread"),
    on_events("spread_ticks"),
    on_events("slope_imbalance"),
    on_events("depth_10"),
    on_events("depth_recovery_60s"),
    on_events("order_flow_imbalance_1s"),
    on_events("order_flow_imbalance_10s"),
    on_events("order_flow_imbalance_60s"),
    on_events("order_flow_imbalance_integrated_10s"),
    on_events("queue_up_probability"),
    on_events("spread_reversion_60s"),
    on_events("staleness"),
    on_events("trade_flow_1s"),
    on_events("trade_flow_10s"),
    on_events("trade_flow_60s"),
    on_events("trade_flow_300s"),
    on_events("vwap_deviation_60s"),
    on_events("vwap_deviation_300s"),
    on_events("log_trade_rate_10s"),
    on_events("trade_sign_persistence_100"),
    on_events("intensity_imbalance_fast"),
    on_events("intensity_imbalance_slow"),
    on_events("trade_burst"),
    on_events("vpin_5m_bulk"),
    on_events("vpin_5m_aggressor"),
    on_events("kyle_lambda_300s"),
    on_events("kyle_r2_300s"),
    on_events("amihud_300s"),
    on_events("realised_volatility_60s"),
    on_events("realised_volatility_300s"),
    on_events("realised_volatility_3600s"),
    on_events("jump_share_300s"),
    on_events("semivariance_asymmetry_300s"),
    on_events("volatility_regime_3600s"),
    on_events("variance_ratio_5_300s"),
    on_events("trend_regime"),
    on_events("run_length_short"),
    on_events("cross_venue_deviation"),
    on_events("cross_consolidated_spread"),
    on_events("cross_deviation_score_60s"),
    on_events("lead_lag_ratio"),
    on_events("leader_return_1s"),
    on_events("cross_perpetual_basis"),
    on_events("funding_rate"),
    on_events("funding_time_left_share"),
    on_bars("rsi_14", Timeframe::Minute1),
    on_bars("rsi_14", Timeframe::Minute15),
    on_bars("macd_histogram", Timeframe::Minute1),
    on_bars("macd_histogram", Timeframe::Hour1),
    on_bars("bollinger_percent_b", Timeframe::Minute1),
    on_bars("bollinger_percent_b", Timeframe::Hour1),
    on_bars("natr_14", Timeframe::Hour1),
    on_bars("adx_14", Timeframe::Minute15),
    on_bars("ema_26", Timeframe::Minute1),
    on_bars("ema_26", Timeframe::Hour1),
    on_bars("sma_20", Timeframe::Hour4),
    on_bars("roc_10", Timeframe::Day1),
    on_bars("obv_change_14", Timeframe::Minute5),
];

const fn on_events(row: &str) -> (&str, Option<Timeframe>) {
    (row, None)
}

const fn on_bars(row: &str, timeframe: Timeframe) -> (&str, Option<Timeframe>) {
    (row, Some(timeframe))
}

/// The places of [`SELECTION`] in the table.
pub const SELECTED: [usize; SELECTION.len()] = {
    let mut places = [0; SELECTION.len()];
    let mut index = 0;
    while index < places.len() {
        places[index] = place_of(SELECTION[index].0, SELECTION[index].1);
        index += 1;
    }
    places
};

/// The place of a row; a name that does not exist stops the build.
const fn place_of(name: &str, timeframe: Option<Timeframe>) -> usize {
    let mut block = 0;
    while block < BLOCKS.len() {
        let same = match (BLOCKS[block].timeframe, timeframe) {
            (None, None) => true,
            (Some(one), Some(other)) => one as usize == other as usize,
            _ => false,
        };
        let mut row = 0;
        while same && row < BLOCKS[block].rows.len() {
            if equal(BLOCKS[block].rows[row].name, name) {
                return start_of(block) + row;
            }
            row += 1;
        }
        block += 1;
    }
    panic!("SELECTION names a feature that the table does not have");
}

const fn equal(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

/// What a model sees of a market at one moment, in the order of [`SELECTION`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vector {
    /// The values; an invalid one is zero.
    #[serde(with = "table::array")]
    pub values: [f32; SELECTION.len()],
    /// Bit `n` is set when value `n` is known.
    pub valid: u64,
}

const _: () = assert!(SELECTION.len() <= u64::BITS as usize, "one bit each");

impl Default for Vector {
    fn default() -> Self {
        Self {
            values: [0.0; SELECTION.len()],
            valid: 0,
        }
    }
}

impl Vector {
    /// The selected part of a table.
    #[must_use]
    pub fn select(table: &Table) -> Self {
        let mut vector = Self::default();
        for (index, place) in SELECTED.into_iter().enumerate() {
            if let Some(value) = table.get(place) {
                vector.values[index] = value;
                vector.valid |= 1 << index;
            }
        }
        vector
    }

    /// One for each value that is known, else zero: the other half of what the model reads.
    #[must_use]
    pub fn known(&self) -> [f32; SELECTION.len()] {
        core::array::from_fn(|index| f32::from(u8::from(self.valid >> index & 1 == 1)))
    }

    /// The value of a feature by its place in [`SELECTION`], when it is known.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<f32> {
        (self.valid >> index & 1 == 1).then(|| self.values[index])
    }

    /// The value of the selected feature of that name, when it is known.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<f32> {
        self.get(selected().position(|feature| feature.is_called(name))?)
    }
}

/// The features of [`SELECTION`], in its order.
pub fn selected() -> impl Iterator<Item = Feature> {
    SELECTED.into_iter().map(feature)
}

/// The feature at a place of the table.
///
/// # Panics
/// When there is no such place.
#[must_use]
pub fn feature(place: usize) -> Feature {
    let mut start = 0;
    for block in &BLOCKS {
        if let Some(row) = block.rows.get(place - start) {
            return Feature {
                place,
                group: block.group,
                timeframe: block.timeframe,
                row,
            };
        }
        start += block.rows.len();
    }
    panic!("the table has {TABLE_LEN} places, {place} is not one of them");
}

/// What features are read from besides their memory.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The best levels.
    pub top: &'a Top,
    /// The instrument.
    pub instrument: &'a Instrument,
    /// The other venues of the same asset; `None` for an instrument without asset.
    pub cross: Option<cross::Own<'a>>,
    /// The newest funding, of a perpetual.
    pub funding: Option<funding::Announced<'a>>,
    /// When the newest market event left the socket.
    pub received: Time,
    /// From the venue's stamp of that event to then; 0 where the venue gives none.
    pub lag_ns: i64,
    /// Now.
    pub at: Time,
}

/// What one instrument's features remember.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Features {
    clock: Clock,
    /// The best levels after the newest event; `None` while the book yields no price.
    top: Option<Top>,
    order_flow: orderflow::OrderFlow,
    liquidity: liquidity::Liquidity,
    flow: flow::Flows,
    intensity: intensity::Intensity,
    toxicity: toxicity::Toxicity,
    impact: impact::Impact,
    volatility: volatility::Volatility,
    regime: regime::Regime,
    bars: Bars,
}

impl Default for Features {
    fn default() -> Self {
        Self::new()
    }
}

impl Features {
    /// Nothing observed yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: Clock::new(),
            top: None,
            order_flow: orderflow::OrderFlow::new(),
            liquidity: liquidity::Liquidity::new(),
            flow: flow::Flows::new(),
            intensity: intensity::Intensity::new(),
            toxicity: toxicity::Toxicity::new(),
            impact: impact::Impact::new(),
            volatility: volatility::Volatility::new(),
            regime: regime::Regime::new(),
            bars: Bars::new(),
        }
    }

    /// In memory of its own, since it is large.
    #[must_use]
    pub fn boxed() -> Box<Self> {
        Box::new(Self::new())
    }

    /// Takes a market event, after the book took it. A late trade still counts: it happened.
    pub fn update(&mut self, update: &Update, book: &Book, instrument: &Instrument, at: Time) {
        self.advance(instrument, at);
        // What the venue tells of the past is nothing heard of the market now.
        if let Body::Candle(candle) = &update.body {
            self.candle(candle, instrument, at);
            return;
        }
        if self.clock.hear(at) {
            self.lose(at);
        }
        match &update.body {
            Body::Trade(trade) => {
                self.clock.trade(trade);
                self.flow.trade(trade, self.top.as_ref(), at);
                self.intensity.trade(trade, at);
                self.liquidity.trade(trade, self.top.as_ref(), at);
                self.impact.trade(trade);
                self.bars.trade(trade, instrument, at);
            }
            Body::Gap(_) => self.lose(at),
            Body::Depth(_) | Body::Touch(_) => self.look(book, at),
            Body::Funding(_) | Body::Candle(_) => {}
        }
    }

    /// A bar that does not follow, or is not over, is left alone: the timeframe stays as it was.
    fn candle(&mut self, candle: &Candle, instrument: &Instrument, at: Time) {
        let price = |price: Price| price.0 as f64 / pow10(instrument.price_scale) as f64;
        let qty = |qty: Qty| qty.0 as f64 / pow10(instrument.qty_scale) as f64;
        let bar = Bar {
            open: price(candle.open),
            high: price(candle.high),
            low: price(candle.low),
            close: price(candle.close),
            volume: qty(candle.volume),
            value: price(candle.vwap) * qty(candle.volume),
            bought: qty(candle.bought),
        };
        let start_s = candle.start.0 / SECONDS;
        let _ = self
            .bars
            .history(candle.timeframe, start_s, &bar, candle.first, at);
    }

    /// The book may have changed. Between the parts of a message it says nothing, and what was known
    /// before stands.
    fn look(&mut self, book: &Book, at: Time) {
        if book.is_partial() {
            return;
        }
        let top = Top::of(book);
        if let Some(top) = &top {
            if !self.clock.is_observing() {
                self.restart(at);
                self.clock.resume();
            }
            self.order_flow.top(top, at);
            self.liquidity.top(top, at);
        }
        self.clock.mid(top.as_ref().map(Top::double_mid));
        self.top = top;
    }

    /// Continuity was lost: nothing is seen until the book is back.
    pub fn interrupt(&mut self, instrument: &Instrument, at: Time) {
        self.advance(instrument, at);
        self.lose(at);
    }

    fn lose(&mut self, at: Time) {
        self.clock.interrupt();
        self.top = None;
        self.restart(at);
    }

    /// Every window starts anew.
    fn restart(&mut self, at: Time) {
        self.order_flow.interrupt(at);
        self.liquidity.interrupt(at);
        self.flow.interrupt(at);
        self.intensity.interrupt(at);
        self.toxicity.interrupt(at);
        self.impact.interrupt(at);
        self.volatility.interrupt(at);
        self.regime.interrupt(at);
        self.bars.interrupt(at);
    }

    /// Closes the seconds, and the bars made of them, that are over at `at`.
    pub fn advance(&mut self, instrument: &Instrument, at: Time) {
        while let Some(step) = self.clock.advance(at) {
            match step {
                Step::Closed(second) => self.second(&second, instrument),
                Step::Idle => self.lose(at),
            }
        }
    }

    fn second(&mut self, second: &Second, instrument: &Instrument) {
        self.order_flow.second(second);
        self.liquidity.second(second, self.top.as_ref());
        self.flow.second(second);
        self.toxicity.second(second);
        self.impact.second(second);
        self.volatility.second(second);
        self.regime.second(second, &self.volatility);
        self.bars.second(second, instrument);
    }

    /// The best levels, while the book yields a price.
    #[must_use]
    pub const fn top(&self) -> Option<&Top> {
        self.top.as_ref()
    }

    /// The bars and what is made of them.
    #[must_use]
    pub const fn bars(&self) -> &Bars {
        &self.bars
    }

    /// The whole table; advance to `view.at` first.
    #[must_use]
    pub fn read(&self, view: &View<'_>) -> Table {
        let mut table = Table::UNKNOWN;
        table.place(start_of(0), &book::read(view));
        table.place(start_of(1), &self.order_flow.read(view));
        table.place(start_of(2), &self.liquidity.read(view));
        table.place(start_of(3), &self.flow.read(view));
        table.place(start_of(4), &self.intensity.read(view));
        table.place(start_of(5), &self.toxicity.read(view));
        table.place(start_of(6), &self.impact.read(view));
        table.place(start_of(7), &self.volatility.read(view));
        table.place(start_of(8), &self.regime.read(view));
        table.place(start_of(9), &cross::read(view));
        table.place(start_of(10), &funding::read(view));
        table.place(start_of(11), &self.bars.activity(view));
        for (index, timeframe) in Timeframe::ALL.into_iter().enumerate() {
            table.place(start_of(12 + index), self.bars.indicators(timeframe));
        }
        table.place(start_of(12 + Timeframe::ALL.len()), self.bars.alpha158());
        table
    }
}

/// Basis points in one.
pub const BPS: f64 = 1e4;

/// Whole seconds as nanoseconds.
const fn seconds(count: u32) -> u64 {
    count as u64 * SECONDS
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn names_are_unique_and_lead_to_their_places() {
        let names: BTreeSet<_> = features().map(|feature| feature.to_string()).collect();
        assert_eq!(names.len(), TABLE_LEN);
        for (place, listed) in features().enumerate() {
            assert_eq!((listed.place, feature(place).row), (place, listed.row));
            assert!(listed.is_called(&listed.to_string()));
        }
        for (place, (name, _)) in SELECTED.iter().zip(SELECTION) {
            assert_eq!(feature(*place).row.name, name);
        }
    }
}
