//! Every limit of the gate: its name, its unit, its range and what it is for, in one place.
//!
//! The configuration writes each key by its name, and the status page lists them from [`KEYS`]; there
//! is no second list. All values are integers, so that a comparison is exact.

use core::fmt;

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::instrument::{ASSET_BYTES, Instrument, MAX_INSTRUMENTS};
use crate::num::{CASH_SCALE, Cash, Fixed};

/// Sectors that a configuration can name.
pub const MAX_SECTORS: usize = 16;
/// Bytes of a sector's name.
pub const SECTOR_BYTES: usize = 16;
/// The sector of an asset that the configuration assigns to none.
pub const OTHER: &str = "other";

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Hundredths of a percent.
    BasisPoints,
    /// Parts per million.
    Ppm,
    /// Money, in units of [`Cash`].
    Money,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// A number of things.
    Count,
}

impl Unit {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BasisPoints => "bps",
            Self::Ppm => "ppm",
            Self::Money => "money",
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Count => "count",
        }
    }
}

/// What is known of a limit apart from its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in the configuration and in reports.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// The least value that makes sense.
    pub low: i64,
    /// The greatest value that makes sense.
    pub high: i64,
    /// The value that is shipped.
    pub default: i64,
    /// What it is for.
    pub about: &'static str,
}

/// How the size of a position is found before it is scaled and capped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// `base_size_bps` of equity times the strength of the signal.
    Fixed,
    /// So much that a move of `atr_multiple_bps` average true ranges costs `risk_per_trade_bps`.
    Atr,
    /// A fraction of Kelly's share `p - (1 - p) / b` (Kelly 1956) for the win rate `p` and the payoff
    /// `b` of the trades so far; as [`Method::Fixed`] until there are `kelly_min_trades` of them.
    KellyRecord,
    /// A fraction of `edge / variance` (Thorp 2006, the continuous approximation) for the expected
    /// return that the action states over `kelly_horizon_s`.
    KellyValue,
}

impl Method {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Fixed, Self::Atr, Self::KellyRecord, Self::KellyValue];

    /// Its name in the configuration and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Atr => "atr",
            Self::KellyRecord => "kelly-record",
            Self::KellyValue => "kelly-value",
        }
    }

    /// The method of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A sector's name.
pub type SectorName = String<SECTOR_BYTES>;

/// A sector and the share of equity that may be in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sector {
    /// Its name.
    pub name: SectorName,
    /// The largest sum of its positions, in basis points of equity.
    pub cap_bps: i64,
}

/// Which assets belong together, and how much of equity each sector may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sectors {
    /// The sectors that have a cap.
    pub caps: Vec<Sector, MAX_SECTORS>,
    /// Base assets and the name of their sector; any other asset belongs to [`OTHER`].
    pub assets: Vec<(String<ASSET_BYTES>, SectorName), MAX_INSTRUMENTS>,
}

/// What is wrong with the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitError {
    /// A value lies outside its range.
    Range {
        /// Which limit.
        key: &'static Key,
        /// Its value.
        value: i64,
    },
    /// One limit must not exceed another.
    Order {
        /// The one that must be the smaller.
        lower: &'static str,
        /// The one that must be at least as large.
        upper: &'static str,
    },
    /// No limit has that name.
    Unknown,
    /// A sector that an asset belongs to has no cap.
    NoCap {
        /// Which sector.
        sector: SectorName,
    },
    /// A sector's cap is negative or above 100 %.
    Cap {
        /// Which sector.
        sector: SectorName,
        /// Its cap.
        cap_bps: i64,
    },
    /// A sector has two caps.
    SectorTwice {
        /// Which sector.
        sector: SectorName,
    },
    /// An asset belongs to two sectors.
    AssetTwice {
        /// Which asset.
        asset: String<ASSET_BYTES>,
    },
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { key, value } => {
                let Key {
                    name, low, high, ..
                } = key;
                let unit = key.unit.name();
                if key.unit == Unit::Money {
                    let text = |value| Fixed::new(value, CASH_SCALE).trimmed();
                    let (value, low, high) = (text(*value), text(*low), text(*high));
                    write!(f, "{name} is {value}: write {low} to {high}")
                } else {
                    write!(f, "{name} is {value} {unit}: write {low} to {high}")
                }
            }
            Self::Order { lower, upper } => write!(
                f,
                "{lower} exceeds {upper}, so that {upper} would act first: \
                 lower {lower} or raise {upper}"
            ),
            Self::Unknown => f.write_str("no limit has that name: see the list of limits"),
            Self::NoCap { sector } => write!(
                f,
                "sector {sector} has no cap: write a cap for it, or assign its assets to another"
            ),
            Self::Cap { sector, cap_bps } => write!(
                f,
                "the cap of sector {sector} is {cap_bps} bps: write 0 to 10000"
            ),
            Self::SectorTwice { sector } => {
                write!(f, "sector {sector} has two caps: remove one")
            }
            Self::AssetTwice { asset } => {
                write!(f, "asset {asset} belongs to two sectors: remove one")
            }
        }
    }
}

impl core::error::Error for LimitError {}

impl Sectors {
    /// The place of an asset's sector among [`Sectors::caps`]; `None` when that sector has no cap.
    #[must_use]
    pub fn of(&self, base: &str) -> Option<usize> {
        let name = self.name_of(base);
        self.caps.iter().position(|sector| sector.name == name)
    }

    /// The name of an asset's sector.
    #[must_use]
    pub fn name_of(&self, base: &str) -> &str {
        let assigned = self.assets.iter().find(|(asset, _)| asset == base);
        assigned.map_or(OTHER, |(_, sector)| sector.as_str())
    }

    /// Checks that every sector in use has one sensible cap, and every asset one sector.
    ///
    /// # Errors
    /// The first [`LimitError`] found.
    pub fn check(&self, instruments: &[Instrument]) -> Result<(), LimitError> {
        for (place, Sector { name, cap_bps }) in self.caps.iter().enumerate() {
            let sector = name.clone();
            if self.caps[..place].iter().any(|other| other.name == *name) {
                return Err(LimitError::SectorTwice { sector });
            }
            if !(0..=10_000).contains(cap_bps) {
                let cap_bps = *cap_bps;
                return Err(LimitError::Cap { sector, cap_bps });
            }
        }
        for (place, (asset, sector)) in self.assets.iter().enumerate() {
            if self.assets[..place].iter().any(|(other, _)| other == asset) {
                let asset = asset.clone();
                return Err(LimitError::AssetTwice { asset });
            }
            if !self.caps.iter().any(|other| other.name == *sector) {
                let sector = sector.clone();
                return Err(LimitError::NoCap { sector });
            }
        }
        let uncapped = instruments.iter().find(|i| self.of(&i.base).is_none());
        uncapped.map_or(Ok(()), |_| {
            let sector = SectorName::try_from(OTHER).expect("a short constant");
            Err(LimitError::NoCap { sector })
        })
    }

    /// The sectors that are shipped: bitcoin 50 %, ethereum 40 %, `DeFi` 30 %, meme coins 10 %, and
    /// 40 % for all others.
    ///
    /// # Panics
    /// Never: the names are short constants.
    #[must_use]
    pub fn shipped() -> Self {
        const CAPS: [(&str, i64, &[&str]); 5] = [
            ("bitcoin", 5_000, &["BTC", "WBTC"]),
            ("ethereum", 4_000, &["ETH", "STETH"]),
            (
                "defi",
                3_000,
                &["UNI", "AAVE", "LINK", "MKR", "CRV", "COMP", "SUSHI", "LDO"],
            ),
            (
                "meme",
                1_000,
                &["DOGE", "SHIB", "PEPE", "WIF", "BONK", "FLOKI"],
            ),
            (OTHER, 4_000, &[]),
        ];
        let mut sectors = Self::default();
        for (sector, cap_bps, assets) in CAPS {
            let name = SectorName::try_from(sector).expect("a short constant");
            for asset in assets {
                let asset = String::try_from(*asset).expect("a short constant");
                sectors
                    .assets
                    .push((asset, name.clone()))
                    .expect("a short list");
            }
            sectors
                .caps
                .push(Sector { name, cap_bps })
                .expect("a short list");
        }
        sectors
    }
}

/// A limit's value as the plain integer that [`Limits::get`] and [`Limits::set`] exchange.
trait Amount {
    fn get(&self) -> i64;
    fn of(value: i64) -> Self;
}

impl Amount for i64 {
    fn get(&self) -> i64 {
        *self
    }
    fn of(value: i64) -> Self {
        value
    }
}

impl Amount for Cash {
    fn get(&self) -> i64 {
        self.0
    }
    fn of(value: i64) -> Self {
        Self(value)
    }
}

macro_rules! limits {
    ($($(#[doc = $about:literal])+ $name:ident: $type:ty, $unit:ident, $low:literal..=$high:literal = $default:expr;)*) => {
        /// All limits.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Limits {
            /// How sizes are found.
            pub method: Method,
            /// What each sector may hold.
            pub sectors: Sectors,
            $($(#[doc = $about])+ pub $name: $type,)*
        }

        /// The limits that are numbers, in the order in which they are listed.
        pub const KEYS: &[Key] = &[$(Key {
            name: stringify!($name),
            unit: Unit::$unit,
            low: $low,
            high: $high,
            default: $default,
            about: concat!($($about),+).trim_ascii(),
        },)*];

        impl Limits {
            /// The limits that are shipped.
            #[must_use]
            pub fn shipped() -> Self {
                Self {
                    method: Method::Fixed,
                    sectors: Sectors::shipped(),
                    $($name: <$type as Amount>::of($default),)*
                }
            }

            /// The value of the limit of that name.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<i64> {
                match name {
                    $(stringify!($name) => Some(self.$name.get()),)*
                    _ => None,
                }
            }

            /// Sets the limit of that name; [`Limits::check`] looks at the whole afterwards.
            ///
            /// # Errors
            /// [`LimitError::Unknown`] when there is no such limit.
            pub fn set(&mut self, name: &str, value: i64) -> Result<(), LimitError> {
                match name {
                    $(stringify!($name) => self.$name = Amount::of(value),)*
                    _ => return Err(LimitError::Unknown),
                }
                Ok(())
            }
        }
    };
}

limits! {
    /// Size of a position before scaling, as a share of equity at full signal strength.
    base_size_bps: i64, BasisPoints, 1..=10_000 = 200;
    /// Loss that one position may cost when it moves against us by the ATR stop (method `atr`).
    risk_per_trade_bps: i64, BasisPoints, 1..=1_000 = 50;
    /// Average true ranges to the stop (method `atr`), in ten-thousandths of one.
    atr_multiple_bps: i64, BasisPoints, 1_000..=100_000 = 20_000;
    /// Share of Kelly's bet that is taken (methods `kelly-record` and `kelly-value`).
    kelly_fraction_ppm: i64, Ppm, 1..=1_000_000 = 250_000;
    /// Closed trades before their record sizes a position (method `kelly-record`).
    kelly_min_trades: i64, Count, 1..=1_000_000 = 30;
    /// Horizon of the return that an action expects (method `kelly-value`).
    kelly_horizon_s: i64, Seconds, 1..=604_800 = 60;
    /// Daily volatility from which it is called medium.
    volatility_medium_bps: i64, BasisPoints, 1..=100_000 = 100;
    /// Daily volatility from which it is called high.
    volatility_high_bps: i64, BasisPoints, 1..=100_000 = 300;
    /// Daily volatility from which it is called extreme.
    volatility_extreme_bps: i64, BasisPoints, 1..=100_000 = 500;
    /// Size factor at low volatility.
    factor_low_ppm: i64, Ppm, 0..=2_000_000 = 1_200_000;
    /// Size factor at medium volatility.
    factor_medium_ppm: i64, Ppm, 0..=2_000_000 = 1_000_000;
    /// Size factor at high volatility, and while it is not known yet.
    factor_high_ppm: i64, Ppm, 0..=2_000_000 = 600_000;
    /// Size factor at extreme volatility.
    factor_extreme_ppm: i64, Ppm, 0..=2_000_000 = 300_000;
    /// Half-life of the volatility estimate.
    volatility_half_life_s: i64, Seconds, 60..=604_800 = 14_400;
    /// Time between the price samples of volatility and correlation.
    sample_s: i64, Seconds, 1..=3_600 = 60;
    /// Length of a bar of the average true range.
    atr_bar_s: i64, Seconds, 60..=86_400 = 3_600;
    /// By how much a perfect correlation with a held position cuts a size.
    correlation_cut_ppm: i64, Ppm, 0..=1_000_000 = 500_000;
    /// Correlation, of either sign, from which two instruments belong to one group.
    correlation_threshold_ppm: i64, Ppm, 1..=1_000_000 = 700_000;
    /// Correlation assumed of a pair with too few common samples.
    correlation_unknown_ppm: i64, Ppm, 0..=1_000_000 = 500_000;
    /// The least confidence at which a decision is followed.
    confidence_none_ppm: i64, Ppm, 0..=1_000_000 = 500_000;
    /// The confidence below which the size is halved.
    confidence_half_ppm: i64, Ppm, 0..=1_000_000 = 650_000;
    /// The confidence above which the size is raised by half.
    confidence_high_ppm: i64, Ppm, 0..=1_000_000 = 850_000;
    /// Largest position of one instrument, of equity.
    position_cap_bps: i64, BasisPoints, 1..=10_000 = 2_500;
    /// Largest net exposure, of equity: what is long less what is short, or the reverse.
    exposure_cap_bps: i64, BasisPoints, 1..=10_000 = 8_000;
    /// Largest sum of the absolute values of all positions, of equity.
    gross_cap_bps: i64, BasisPoints, 1..=10_000 = 9_500;
    /// Largest sum of the positions of one correlated group, of equity.
    correlated_cap_bps: i64, BasisPoints, 1..=10_000 = 6_000;
    /// Largest portfolio heat: the sum of positions times their stop distance, of equity.
    heat_cap_bps: i64, BasisPoints, 1..=10_000 = 600;
    /// Share of equity that stays in cash when every open order has filled.
    cash_reserve_bps: i64, BasisPoints, 0..=9_999 = 1_000;
    /// Smallest order that adds risk.
    min_order: Cash, Money, 0..=100_000_000_000_000 = 10 * Cash::ONE.0;
    /// A change smaller than this share of the target is left alone.
    deadband_bps: i64, BasisPoints, 0..=10_000 = 2_000;
    /// How far beyond a cap, relative to it, the account may drift before it is a violation.
    breach_tolerance_bps: i64, BasisPoints, 0..=10_000 = 500;
    /// Loss of a position, of its cost, at which it is closed.
    stop_loss_bps: i64, BasisPoints, 1..=10_000 = 500;
    /// Gain of a position, of its cost, at which it is closed.
    take_profit_bps: i64, BasisPoints, 1..=1_000_000 = 1_000;
    /// Retreat from a position's best price at which it is closed; 0 for no trailing stop.
    trailing_stop_bps: i64, BasisPoints, 0..=9_999 = 300;
    /// Gain, of its cost, from which a position's trailing stop is armed.
    trailing_arm_bps: i64, BasisPoints, 0..=1_000_000 = 400;
    /// Loss since the start of the UTC day at which no new risk is taken until the next.
    daily_stop_bps: i64, BasisPoints, 1..=10_000 = 300;
    /// Loss since the start of the UTC day at which trading halts.
    daily_halt_bps: i64, BasisPoints, 1..=10_000 = 500;
    /// Loss since Monday, 00:00 UTC, at which trading halts.
    weekly_halt_bps: i64, BasisPoints, 1..=10_000 = 1_500;
    /// Drawdown from the peak of equity at which positions may only shrink.
    drawdown_reduce_bps: i64, BasisPoints, 1..=10_000 = 1_500;
    /// Drawdown from the peak of equity at which everything is closed and trading halts.
    drawdown_halt_bps: i64, BasisPoints, 1..=10_000 = 2_500;
    /// Losses in a row at which no new risk is taken for a while.
    losses_in_a_row: i64, Count, 1..=1_000 = 5;
    /// For how long losses in a row stop new risk.
    losses_cooloff_s: i64, Seconds, 1..=604_800 = 3_600;
    /// Move within an hour at which an instrument may only be reduced.
    crash_hour_bps: i64, BasisPoints, 1..=1_000_000 = 2_000;
    /// Move within five minutes at which an instrument may only be reduced.
    crash_fast_bps: i64, BasisPoints, 1..=1_000_000 = 1_500;
    /// For how long a crash restricts its instrument.
    crash_cooloff_s: i64, Seconds, 1..=604_800 = 1_800;
    /// Least value near the touch, on the thinner side, at which risk is added.
    min_depth: Cash, Money, 0..=100_000_000_000_000 = 1_000 * Cash::ONE.0;
    /// Widest spread, of the mid price, at which risk is added.
    max_spread_bps: i64, BasisPoints, 1..=10_000 = 100;
    /// Funding rate of an interval, of either sign, that is worth a warning.
    funding_warn_bps: i64, BasisPoints, 1..=10_000 = 50;
    /// Funding rate of an interval, of either sign, at which a perpetual takes no new risk.
    funding_block_bps: i64, BasisPoints, 1..=10_000 = 100;
    /// Time before a funding settlement in which a perpetual takes no new risk.
    funding_window_s: i64, Seconds, 0..=28_800 = 600;
    /// Age of an instrument's newest market event at which it takes no new risk.
    stale_s: i64, Seconds, 1..=86_400 = 30;
    /// Delay of the feed, or round trip to the venue, at which it takes no new risk.
    latency_ms: i64, Millis, 1..=3_600_000 = 5_000;
    /// Share of a venue's frames that failed at which it takes no new risk.
    error_rate_bps: i64, BasisPoints, 1..=10_000 = 1_000;
    /// Frames before their error rate means anything.
    error_min_frames: i64, Count, 1..=1_000_000 = 20;
    /// Difference between our clock and the venue's at which it takes no new risk.
    clock_offset_ms: i64, Millis, 1..=3_600_000 = 1_000;
    /// For how long latency, errors or a clock offset restrict a venue.
    venue_cooloff_s: i64, Seconds, 1..=604_800 = 60;
    /// Violations within the window at which everything is closed and trading halts.
    emergency_violations: i64, Count, 2..=16 = 5;
    /// The window in which violations are counted.
    emergency_window_s: i64, Seconds, 1..=86_400 = 300;
}

/// Pairs of limits of which the first must not exceed the second.
const ORDERED: &[(&str, &str)] = &[
    ("volatility_medium_bps", "volatility_high_bps"),
    ("volatility_high_bps", "volatility_extreme_bps"),
    ("confidence_none_ppm", "confidence_half_ppm"),
    ("confidence_half_ppm", "confidence_high_ppm"),
    ("daily_stop_bps", "daily_halt_bps"),
    ("drawdown_reduce_bps", "drawdown_halt_bps"),
    ("funding_warn_bps", "funding_block_bps"),
    ("base_size_bps", "position_cap_bps"),
];

impl Limits {
    /// Checks every value against its range, and those that depend on one another.
    ///
    /// # Errors
    /// The first [`LimitError`] found; its text names the key, the cause and the remedy.
    pub fn check(&self, instruments: &[Instrument]) -> Result<(), LimitError> {
        for key in KEYS {
            let value = self.get(key.name).unwrap_or(i64::MIN);
            if !(key.low..=key.high).contains(&value) {
                return Err(LimitError::Range { key, value });
            }
        }
        for (lower, upper) in ORDERED {
            if self.get(lower) > self.get(upper) {
                return Err(LimitError::Order { lower, upper });
            }
        }
        self.sectors.check(instruments)
    }
}

/// The key of that name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::instrument::Venue;

    fn of(base: &str) -> Instrument {
        let plain = Instrument::unknown(Venue::Kraken, "T").expect("short");
        Instrument {
            base: String::try_from(base).expect("short"),
            ..plain
        }
    }

    #[test]
    fn what_is_shipped_passes_and_is_listed() {
        let limits = Limits::shipped();
        assert_eq!(limits.check(&[of("BTC"), of("XYZ")]), Ok(()));
        assert_eq!(limits.sectors.name_of("DOGE"), "meme");
        assert_eq!(limits.sectors.of("BTC"), Some(0));
        assert_eq!(limits.sectors.name_of("XYZ"), OTHER);
        for entry in KEYS {
            assert_eq!(
                limits.get(entry.name),
                Some(entry.default),
                "{}",
                entry.name
            );
            assert!(entry.about.ends_with('.'), "{}", entry.name);
            assert_eq!(key(entry.name), Some(entry));
        }
        assert_eq!(limits.get("method"), None);
        for method in Method::ALL {
            assert_eq!(Method::from_name(method.name()), Some(method));
        }
    }

    #[test]
    fn every_key_is_set_by_its_name_and_refused_outside_its_range() {
        for key in KEYS {
            for value in [key.low - 1, key.high + 1] {
                let mut limits = Limits::shipped();
                limits.set(key.name, value).expect("a known name");
                assert_eq!(limits.get(key.name), Some(value));
                let error = limits.check(&[]).expect_err("out of range");
                assert_eq!(error, LimitError::Range { key, value });
                assert!(error.to_string().starts_with(key.name), "{error}");
            }
        }
        let unknown = Limits::shipped().set("nonsense", 1);
        assert_eq!(unknown, Err(LimitError::Unknown));
    }

    #[test]
    fn contradictions_are_refused() {
        for &(lower, upper) in ORDERED {
            let mut limits = Limits::shipped();
            let above = limits.get(upper).expect("known") + 1;
            limits.set(lower, above).expect("known");
            let error = limits.check(&[]).expect_err("the wrong way around");
            assert_eq!(error, LimitError::Order { lower, upper });
        }
        let text = LimitError::Order {
            lower: "daily_stop_bps",
            upper: "daily_halt_bps",
        };
        assert_eq!(
            text.to_string(),
            "daily_stop_bps exceeds daily_halt_bps, so that daily_halt_bps would act first: lower \
             daily_stop_bps or raise daily_halt_bps"
        );
    }

    #[test]
    fn a_sector_needs_one_cap() {
        let other = SectorName::try_from(OTHER).expect("short");
        let mut sectors = Sectors::shipped();
        sectors.caps.pop();
        let error = sectors
            .check(&[of("XYZ")])
            .expect_err("no cap for the rest");
        assert_eq!(error, LimitError::NoCap { sector: other });
        assert_eq!(sectors.check(&[of("BTC")]), Ok(()));
        assert_eq!(
            error.to_string(),
            "sector other has no cap: write a cap for it, or assign its assets to another"
        );
        let gone = sectors.caps.remove(0);
        assert_eq!(
            sectors.check(&[]),
            Err(LimitError::NoCap { sector: gone.name })
        );

        let mut sectors = Sectors::shipped();
        sectors.caps[1].name = sectors.caps[0].name.clone();
        let sector = sectors.caps[0].name.clone();
        assert_eq!(sectors.check(&[]), Err(LimitError::SectorTwice { sector }));
        let mut sectors = Sectors::shipped();
        sectors.assets[1].0 = sectors.assets[0].0.clone();
        let asset = sectors.assets[0].0.clone();
        assert_eq!(sectors.check(&[]), Err(LimitError::AssetTwice { asset }));
        for cap_bps in [-1, 10_001] {
            let mut sectors = Sectors::shipped();
            sectors.caps[0].cap_bps = cap_bps;
            let sector = sectors.caps[0].name.clone();
            assert_eq!(sectors.check(&[]), Err(LimitError::Cap { sector, cap_bps }));
        }
    }
}
