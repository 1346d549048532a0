//! The one table of features: what the policy sees of a market.
//!
//! Every feature is causal, costs O(1) per event and allocates nothing. A value that is not known
//! (a window not yet observed in full since the last gap, no second venue) is marked invalid and
//! stands as zero; it is never guessed. This folder is the only place where exact integers become
//! floating-point numbers.

pub mod book;
pub mod cross;
pub mod flow;

use serde::{Deserialize, Serialize};

use crate::book::Book;
use crate::event::{Body, Update};
use crate::instrument::Instrument;
use crate::time::{SECONDS, Time};
use cross::Cross;
use flow::{Flow, Volatility};

/// The unit of a feature's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// A ratio in `[-1, 1]`.
    Ratio,
    /// Hundredths of a percent of the mid price.
    Bps,
}

impl Unit {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ratio => "ratio",
            Self::Bps => "bps",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name, for good: a change of meaning is a new name.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// The function's parameter: levels of a book feature, seconds of a window.
    pub parameter: u32,
    /// The function.
    pub function: Function,
}

/// The functions of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// [`book::imbalance`] over so many levels.
    Imbalance,
    /// [`book::microprice_deviation`].
    MicropriceDeviation,
    /// [`book::spread`].
    Spread,
    /// [`flow::Flow::imbalance`] over so many seconds.
    TradeFlow,
    /// [`flow::Flow::vwap`] over so many seconds, as the mid's deviation from it.
    VwapDeviation,
    /// [`flow::Volatility::realised`] over so many seconds.
    RealisedVolatility,
    /// [`cross::Cross::deviation`].
    CrossVenue,
}

const fn feature(name: &'static str, unit: Unit, parameter: u32, function: Function) -> Feature {
    Feature {
        name,
        unit,
        parameter,
        function,
    }
}

/// The table. Its order is the order of the state vector.
pub const FEATURES: [Feature; 11] = [
    feature("book_imbalance_1", Unit::Ratio, 1, Function::Imbalance),
    feature("book_imbalance_5", Unit::Ratio, 5, Function::Imbalance),
    feature("book_imbalance_10", Unit::Ratio, 10, Function::Imbalance),
    feature(
        "microprice_deviation",
        Unit::Bps,
        1,
        Function::MicropriceDeviation,
    ),
    feature("spread", Unit::Bps, 1, Function::Spread),
    feature("trade_flow_1s", Unit::Ratio, 1, Function::TradeFlow),
    feature("trade_flow_10s", Unit::Ratio, 10, Function::TradeFlow),
    feature("trade_flow_60s", Unit::Ratio, 60, Function::TradeFlow),
    feature("vwap_deviation_60s", Unit::Bps, 60, Function::VwapDeviation),
    feature(
        "realised_volatility_60s",
        Unit::Bps,
        60,
        Function::RealisedVolatility,
    ),
    feature("cross_venue_deviation", Unit::Bps, 0, Function::CrossVenue),
];

/// The windows of trade flow, in seconds; the last one also gives the VWAP.
pub const FLOW_WINDOWS_S: [u32; 3] = [1, 10, 60];
/// Seconds, and therefore samples, of realised volatility.
pub const VOLATILITY_WINDOW_S: u32 = 60;

/// The state of a market at one moment, in the order of [`FEATURES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vector {
    /// The values; an invalid one is zero.
    pub values: [f32; FEATURES.len()],
    /// Bit `n` is set when value `n` is known.
    pub valid: u32,
}

impl Vector {
    /// The value of a feature, when it is known.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<f32> {
        (self.valid >> index & 1 == 1).then(|| self.values[index])
    }

    /// The value of the feature of that name, when it is known.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<f32> {
        self.get(FEATURES.iter().position(|feature| feature.name == name)?)
    }

    fn set(&mut self, index: usize, value: Option<f64>) {
        #[expect(clippy::cast_possible_truncation, reason = "the model computes in f32")]
        if let Some(value) = value
            .map(|value| value as f32)
            .filter(|value| value.is_finite())
        {
            self.values[index] = value;
            self.valid |= 1 << index;
        }
    }
}

/// What one instrument's features remember.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Features {
    flows: [Flow; FLOW_WINDOWS_S.len()],
    volatility: Volatility,
}

impl Default for Features {
    fn default() -> Self {
        Self::new()
    }
}

impl Features {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            flows: [
                Flow::new(FLOW_WINDOWS_S[0]),
                Flow::new(FLOW_WINDOWS_S[1]),
                Flow::new(FLOW_WINDOWS_S[2]),
            ],
            volatility: Volatility::new(),
        }
    }

    /// Takes a market event, after the book took it. A late trade still counts as flow: it happened.
    pub fn update(&mut self, update: &Update, book: &Book, at: Time) {
        match &update.body {
            Body::Trade(trade) => {
                for flow in &mut self.flows {
                    flow.trade(trade, at);
                }
            }
            Body::Gap(_) => self.interrupt(at),
            Body::Depth(_) | Body::Touch(_) | Body::Funding(_) => {}
        }
        if let Some(double_mid) = book.double_mid() {
            self.volatility.mid(double_mid, at);
        }
    }

    /// Observation was interrupted: every window starts anew.
    pub fn interrupt(&mut self, at: Time) {
        for flow in &mut self.flows {
            flow.interrupt(at);
        }
        self.volatility.interrupt();
    }

    /// The state vector at `at`; `None` while the book yields no price.
    #[must_use]
    pub fn vector(
        &self,
        book: &Book,
        instrument: &Instrument,
        cross: Option<&Cross>,
        at: Time,
    ) -> Option<Vector> {
        let touch = book::Touch::of(book)?;
        let ladder = book::Ladder::of(book);
        let mut vector = Vector::default();
        for (index, feature) in FEATURES.iter().enumerate() {
            let value = match feature.function {
                Function::Imbalance => book::imbalance(&ladder, feature.parameter as usize),
                Function::MicropriceDeviation => book::microprice_deviation(&touch),
                Function::Spread => Some(book::spread(&touch)),
                Function::TradeFlow => self.flow(feature).and_then(|flow| flow.imbalance(at)),
                Function::VwapDeviation => self
                    .flow(feature)
                    .and_then(|flow| flow.vwap(at))
                    .map(|vwap| (touch.mid() / vwap - 1.0) * BPS),
                Function::RealisedVolatility => self.volatility.realised(),
                Function::CrossVenue => {
                    cross.and_then(|cross| cross.deviation(touch.mid(), instrument))
                }
            };
            vector.set(index, value);
        }
        Some(vector)
    }

    fn flow(&self, feature: &Feature) -> Option<&Flow> {
        let place = FLOW_WINDOWS_S
            .iter()
            .position(|window| *window == feature.parameter)?;
        Some(&self.flows[place])
    }
}

/// Basis points in one.
pub const BPS: f64 = 1e4;

/// Whole seconds as nanoseconds.
const fn seconds(count: u32) -> u64 {
    count as u64 * SECONDS
}
