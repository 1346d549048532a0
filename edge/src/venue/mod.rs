//! The venues' dialects: pure state machines from frames to [`Update`]s.
//!
//! A [`session::Session`] is one connection. Frames, REST replies and the time go in
//! (`handle_*`); what to send, what happened and when to come back come out (`poll_*`). Nothing here
//! touches a socket, a clock or a file, so live trading, replay and tests drive the same code.
//!
//! * [`session`]: the life of a connection: connect, subscribe, keep alive, rotate, back off.
//! * [`reader`]: what a dialect calls while it reads one frame; turns wire text into exact numbers.
//! * [`sync`]: brackets a snapshot and the diffs around it, for every venue that needs it.
//! * [`history`]: the venues' own bars.
//! * one file per venue: what its frames look like, and nothing else.
//!
//! JSON exists only under this folder, the status page and the command line.

pub mod binance;
pub mod coinbase;
pub mod dialect;
pub mod history;
pub mod kraken;
pub mod kraken_futures;
mod kraken_v1;
pub mod kucoin;
pub mod kucoin_uta;
pub mod reader;
pub mod session;
pub mod sync;
mod wire;

#[cfg(test)]
mod tests;

use tickerml_shared::event::Update;
use tickerml_shared::features::bars::Timeframe;
use tickerml_shared::instrument::Venue;

/// Where a venue is reached. Simulated venues differ from real ones in this alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Root of its WebSocket addresses, without a trailing slash (`wss://stream.binance.com:9443`).
    pub ws: String,
    /// Root of its REST addresses, without a trailing slash (`https://api.binance.com`); empty for
    /// venues that need none, which then are not asked for their history.
    pub rest: String,
}

/// The public endpoint of a venue.
#[must_use]
pub fn public_endpoint(venue: Venue) -> Endpoint {
    let (ws, rest) = match venue {
        Venue::Binance => ("wss://stream.binance.com:9443", "https://api.binance.com"),
        Venue::BinanceUs => ("wss://stream.binance.us:9443", "https://api.binance.us"),
        Venue::BinanceUsdm => ("wss://fstream.binance.com", "https://fapi.binance.com"),
        Venue::Coinbase => (
            "wss://ws-feed.exchange.coinbase.com",
            "https://api.exchange.coinbase.com",
        ),
        Venue::CoinbaseAdvanced => (
            "wss://advanced-trade-ws.coinbase.com",
            "https://api.coinbase.com",
        ),
        Venue::Kraken => ("wss://ws.kraken.com/v2", "https://api.kraken.com"),
        Venue::KrakenFutures => ("wss://futures.kraken.com/ws/v1", ""),
        Venue::Kucoin => ("", "https://api.kucoin.com"),
        Venue::KucoinUta => ("wss://x-push-spot.kucoin.com", "https://api.kucoin.com"),
        Venue::KucoinFutures => ("", "https://api-futures.kucoin.com"),
    };
    Endpoint {
        ws: ws.to_owned(),
        rest: rest.to_owned(),
    }
}

/// A REST request, told apart by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The depth snapshot of the instrument at this place of the session's table.
    Snapshot(usize),
    /// A connection token (KuCoin).
    Token,
    /// The venue's bars of the instrument at this place.
    History(usize, Timeframe),
}

/// What a session wants done. The caller does it and says how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// Open a WebSocket; answer with `handle_connected` or `handle_disconnected`.
    Connect {
        /// Full address.
        url: String,
    },
    /// Send a text frame.
    Send(String),
    /// Make a REST request; answer with `handle_reply`.
    Request {
        /// What it is for.
        purpose: Purpose,
        /// `true` for POST with an empty body, `false` for GET.
        post: bool,
        /// Full address.
        url: String,
    },
    /// Close the WebSocket; answer with `handle_disconnected`.
    Close {
        /// Why, for the log.
        reason: &'static str,
    },
}

/// A REST reply.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
    /// Body.
    pub body: &'a str,
}

/// Where updates go: in order, to be drained by `poll_update`.
pub type Updates = std::collections::VecDeque<Update>;

/// What a frame meant for the connection, beyond the updates that its dialect gave the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cue {
    /// Nothing: data, an acknowledgement, a heartbeat.
    None,
    /// The venue is ready for subscriptions (KuCoin's welcome).
    Welcome,
    /// The venue refused a request; its own words.
    Refused(String),
    /// The connection is of no more use and must be made anew.
    Restart(&'static str),
    /// Answer with this frame at once (application pings).
    Answer(String),
}
