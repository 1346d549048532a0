//! What a session must know of a venue's dialect, and the closed set of dialects.
//!
//! A dialect says how to reach its venue, what to send, and what each frame means; it calls the
//! [`Reader`] for the latter. It keeps no book, no clock and no connection, so the set is closed:
//! one arm a dialect, forwarded below, and no trait.

use tickerml_shared::instrument::Venue;

use super::binance::Binance;
use super::coinbase::{Advanced, Exchange};
use super::kraken::Kraken;
use super::kraken_futures::KrakenFutures;
use super::kucoin::Kucoin;
use super::kucoin_uta::KucoinUta;
use super::reader::{Reader, Unreadable};
use super::session::Channel;
use super::sync::Rule;
use super::{Cue, Endpoint, Transmit};

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

/// One of the dialects.
#[derive(Debug)]
pub enum Dialect {
    /// Binance, Binance.US, Binance USDT-M.
    Binance(Binance),
    /// Coinbase Exchange.
    Coinbase(Exchange),
    /// Coinbase Advanced Trade.
    CoinbaseAdvanced(Advanced),
    /// Kraken spot.
    Kraken(Kraken),
    /// Kraken Futures.
    KrakenFutures(KrakenFutures),
    /// KuCoin Classic, spot and futures.
    Kucoin(Kucoin),
    /// KuCoin, unified.
    KucoinUta(KucoinUta),
}

/// Calls the same method of whichever dialect it is.
macro_rules! forward {
    ($dialect:expr, $inner:ident => $call:expr) => {
        match $dialect {
            Dialect::Binance($inner) => $call,
            Dialect::Coinbase($inner) => $call,
            Dialect::CoinbaseAdvanced($inner) => $call,
            Dialect::Kraken($inner) => $call,
            Dialect::KrakenFutures($inner) => $call,
            Dialect::Kucoin($inner) => $call,
            Dialect::KucoinUta($inner) => $call,
        }
    };
}

impl Dialect {
    /// The dialect of a venue's feed, for these streams.
    #[must_use]
    pub fn new(venue: Venue, channel: Channel) -> Self {
        match venue {
            Venue::Binance | Venue::BinanceUs | Venue::BinanceUsdm => {
                Self::Binance(Binance::new(venue, channel))
            }
            Venue::Coinbase => Self::Coinbase(Exchange::new(channel)),
            Venue::CoinbaseAdvanced => Self::CoinbaseAdvanced(Advanced::new(channel)),
            Venue::Kraken => Self::Kraken(Kraken::new(channel)),
            Venue::KrakenFutures => Self::KrakenFutures(KrakenFutures::new(channel)),
            Venue::Kucoin | Venue::KucoinFutures => Self::Kucoin(Kucoin::new(venue, channel)),
            Venue::KucoinUta => Self::KucoinUta(KucoinUta::new(channel)),
        }
    }

    /// Whether snapshots must be asked for by REST; otherwise each subscription brings one.
    #[must_use]
    pub const fn asks_for_snapshots(&self) -> bool {
        matches!(self, Self::Binance(_) | Self::Kucoin(_))
    }

    /// How the venue numbers its diffs.
    #[must_use]
    pub fn rule(&self) -> Rule {
        forward!(self, dialect => dialect.rule())
    }

    /// The first step of a connection: [`Transmit::Connect`], or a request for a token.
    #[must_use]
    pub fn start(&mut self, endpoint: &Endpoint, reader: &Reader) -> Transmit {
        forward!(self, dialect => dialect.start(endpoint, reader))
    }

    /// Reads the reply to a request for a token; gives [`Transmit::Connect`].
    ///
    /// # Errors
    /// [`Unreadable`] when it holds none.
    pub fn token(&mut self, body: &str, endpoint: &Endpoint) -> Result<Transmit, Unreadable> {
        match self {
            Self::Kucoin(dialect) => dialect.token(body, endpoint),
            _ => Err(Unreadable::new("a token that nobody asked for")),
        }
    }

    /// The frames that subscribe, sent once a connection.
    #[must_use]
    pub fn subscribe(&mut self, reader: &Reader) -> Vec<String> {
        forward!(self, dialect => dialect.subscribe(reader))
    }

    /// Whether subscribing must wait for [`Cue::Welcome`].
    #[must_use]
    pub const fn waits_for_welcome(&self) -> bool {
        matches!(self, Self::Kucoin(_) | Self::KucoinUta(_))
    }

    /// Reads one frame, or a line of a capture.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not what the venue is known to send.
    pub fn frame(&mut self, text: &str, reader: &mut Reader) -> Result<Cue, Unreadable> {
        forward!(self, dialect => dialect.frame(text, reader))
    }

    /// Reads the reply to the request for a snapshot of the instrument at `place`.
    ///
    /// # Errors
    /// [`Unreadable`] when it is none.
    pub fn snapshot(
        &mut self,
        place: usize,
        body: &str,
        reader: &mut Reader,
    ) -> Result<(), Unreadable> {
        match self {
            Self::Binance(dialect) => dialect.snapshot(place, body, reader),
            Self::Kucoin(dialect) => dialect.snapshot(place, body, reader),
            _ => Err(Unreadable::new("a snapshot that nobody asked for")),
        }
    }

    /// What brings a new snapshot of the instrument at `place`: a request, or frames that
    /// unsubscribe and subscribe.
    #[must_use]
    pub fn refresh(&mut self, place: usize, endpoint: &Endpoint, reader: &Reader) -> Vec<Transmit> {
        forward!(self, dialect => dialect.refresh(place, endpoint, reader))
    }

    /// A frame to send again and again, and the nanoseconds between.
    #[must_use]
    pub fn keepalive(&self) -> Option<(u64, String)> {
        forward!(self, dialect => dialect.keepalive())
    }

    /// How patient to be.
    #[must_use]
    pub fn limits(&self) -> Limits {
        forward!(self, dialect => dialect.limits())
    }

    /// A snapshot reply as a line of a capture, for the venues that are asked for snapshots.
    #[must_use]
    pub fn capture_snapshot(&self, symbol: &str, body: &str) -> Option<String> {
        match self {
            Self::Binance(_) => Some(Binance::capture_snapshot(symbol, body)),
            Self::Kucoin(dialect) => Some(dialect.capture_snapshot(symbol, body)),
            _ => None,
        }
    }
}
