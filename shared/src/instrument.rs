//! What is traded where, and in which units.

use core::fmt;

use heapless::String;
use serde::{Deserialize, Serialize};

use crate::num::{Fixed, NumError, Price, Qty, parse};

/// Instruments that one engine can hold: bounds every per-instrument table.
pub const MAX_INSTRUMENTS: usize = 64;
/// Bytes of a venue's symbol.
pub const SYMBOL_BYTES: usize = 24;
/// Bytes of an asset code.
pub const ASSET_BYTES: usize = 12;

/// An instrument's place in its table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct InstrumentId(pub u16);

impl InstrumentId {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A venue's feed, by the dialect it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Venue {
    /// Binance.com spot.
    Binance,
    /// Binance.US spot.
    BinanceUs,
    /// Binance USDT-margined futures.
    BinanceUsdm,
    /// Coinbase Exchange feed.
    Coinbase,
    /// Coinbase Advanced Trade.
    CoinbaseAdvanced,
    /// Kraken spot, WebSocket v2.
    Kraken,
    /// Kraken Futures.
    KrakenFutures,
    /// KuCoin spot, Classic feed.
    Kucoin,
    /// KuCoin, unified ("UTA") feed.
    KucoinUta,
    /// KuCoin futures, Classic feed.
    KucoinFutures,
}

impl Venue {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Binance,
        Self::BinanceUs,
        Self::BinanceUsdm,
        Self::Coinbase,
        Self::CoinbaseAdvanced,
        Self::Kraken,
        Self::KrakenFutures,
        Self::Kucoin,
        Self::KucoinUta,
        Self::KucoinFutures,
    ];

    /// Its name in commands, configuration and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::BinanceUs => "binance-us",
            Self::BinanceUsdm => "binance-usdm",
            Self::Coinbase => "coinbase",
            Self::CoinbaseAdvanced => "coinbase-advanced",
            Self::Kraken => "kraken",
            Self::KrakenFutures => "kraken-futures",
            Self::Kucoin => "kucoin",
            Self::KucoinUta => "kucoin-uta",
            Self::KucoinFutures => "kucoin-futures",
        }
    }

    /// The decimals of prices and quantities for an instrument that no table describes: as many as
    /// the venue prints, and no more, since each one costs a digit at the other end (Kraken shows
    /// asks of ten thousand millions).
    #[must_use]
    pub const fn default_scales(self) -> (u8, u8) {
        match self {
            Self::Kucoin | Self::KucoinUta | Self::KucoinFutures => (10, 8),
            _ => (8, 8),
        }
    }

    /// The venue of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|venue| venue.name() == name)
    }
}

impl fmt::Display for Venue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What holding the instrument means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The asset itself.
    Spot,
    /// A perpetual contract settled in the quote currency.
    Perpetual,
    /// A perpetual or dated contract settled in the base currency; its quantity is in quote units.
    Inverse,
    /// A dated contract settled in the quote currency.
    Future,
}

/// One instrument of one venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    /// Where it trades.
    pub venue: Venue,
    /// The venue's own symbol, exactly as on the wire (`BTCUSDT`, `BTC-USD`, `BTC/USD`).
    pub symbol: String<SYMBOL_BYTES>,
    /// Base asset in common spelling (`BTC`, never `XBT`).
    pub base: String<ASSET_BYTES>,
    /// Quote asset.
    pub quote: String<ASSET_BYTES>,
    /// What holding it means.
    pub kind: Kind,
    /// Decimals of the unit in which [`Price`] counts.
    pub price_scale: u8,
    /// Decimals of the unit in which [`Qty`] counts.
    pub qty_scale: u8,
    /// Smallest price step, in units of [`Price`].
    pub tick: i64,
    /// Smallest quantity step, in units of [`Qty`].
    pub lot: i64,
    /// Levels a side that the venue maintains for this subscription; the book is cut to it after
    /// every message. `None`: the venue sends every level it knows.
    pub depth: Option<u16>,
}

impl Instrument {
    /// An instrument about which nothing is known but its name, in its venue's default scales.
    ///
    /// # Errors
    /// Gives the symbol's length back when it exceeds [`SYMBOL_BYTES`].
    pub fn unknown(venue: Venue, symbol: &str) -> Result<Self, usize> {
        let (price_scale, qty_scale) = venue.default_scales();
        let symbol = String::try_from(symbol).map_err(|_| symbol.len())?;
        Ok(Self {
            venue,
            symbol,
            base: String::new(),
            quote: String::new(),
            kind: Kind::Spot,
            price_scale,
            qty_scale,
            tick: 1,
            lot: 1,
            depth: None,
        })
    }

    /// Parses a price of this instrument.
    ///
    /// # Errors
    /// [`NumError`] when the text is no number that its scale can hold.
    pub fn price(&self, text: &str) -> Result<Price, NumError> {
        parse(text, self.price_scale).map(Price)
    }

    /// Parses a quantity of this instrument.
    ///
    /// # Errors
    /// [`NumError`] when the text is no number that its scale can hold.
    pub fn qty(&self, text: &str) -> Result<Qty, NumError> {
        parse(text, self.qty_scale).map(Qty)
    }

    /// A price as text without trailing zeros.
    #[must_use]
    pub const fn price_text(&self, price: Price) -> Fixed {
        Fixed::new(price.0, self.price_scale).trimmed()
    }

    /// A quantity as text without trailing zeros.
    #[must_use]
    pub const fn qty_text(&self, qty: Qty) -> Fixed {
        Fixed::new(qty.0, self.qty_scale).trimmed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for venue in Venue::ALL {
            assert_eq!(Venue::from_name(venue.name()), Some(venue));
        }
        assert_eq!(Venue::from_name("ftx"), None);
    }
}
