//! The formats that files of history come in, told by what stands in them.
//!
//! Sources: Binance "Binance Public Data" (github.com/binance/binance-public-data: klines, aggTrades, trades,
//! bookTicker, fundingRate; with a header since 2022 on futures, without one on spot), Tardis.dev "Downloadable CSV
//! files" (incremental_book_L2, book_snapshot_5/25, trades, quotes, derivative_ticker), HftBacktest "Data" (event
//! arrays in `.npz`).

use std::fmt;
use std::path::Path;

use csv::StringRecord;

use super::HistoryError;
use super::files::{Progress, Stream, open, unreadable};

/// The first bytes of a NumPy array.
pub(super) const NPY: &[u8] = b"\x93NUMPY";

/// What a file holds.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Format {
    /// Bars: Binance's klines, or any table with a time of opening, open, high, low, close and volume.
    Bars,
    /// Binance's aggregated trades.
    BinanceAggTrades,
    /// Binance's trades.
    BinanceTrades,
    /// Binance's best bid and ask.
    BinanceBookTicker,
    /// Funding rates that were settled: Binance's, or a table with a time and a rate.
    FundingRates,
    /// Tardis' changes of the book.
    TardisBook,
    /// Tardis' books of a fixed depth.
    TardisSnapshots,
    /// Tardis' trades.
    TardisTrades,
    /// Tardis' best bid and ask.
    TardisQuotes,
    /// Tardis' funding, mark and index prices.
    TardisDerivative,
    /// HftBacktest's events.
    HftBacktest,
}

impl Format {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bars => "bars",
            Self::BinanceAggTrades => "binance-agg-trades",
            Self::BinanceTrades => "binance-trades",
            Self::BinanceBookTicker => "binance-book-ticker",
            Self::FundingRates => "funding-rates",
            Self::TardisBook => "tardis-incremental-book",
            Self::TardisSnapshots => "tardis-book-snapshots",
            Self::TardisTrades => "tardis-trades",
            Self::TardisQuotes => "tardis-quotes",
            Self::TardisDerivative => "tardis-derivative-ticker",
            Self::HftBacktest => "hftbacktest",
        }
    }

    /// What it tells of the best prices.
    pub(super) const fn quotes(self) -> Quotes {
        match self {
            Self::Bars => Quotes::Bars,
            Self::TardisBook | Self::TardisSnapshots | Self::HftBacktest => Quotes::Book,
            Self::BinanceBookTicker | Self::TardisQuotes => Quotes::Touch,
            Self::BinanceAggTrades
            | Self::BinanceTrades
            | Self::TardisTrades
            | Self::FundingRates
            | Self::TardisDerivative => Quotes::None,
        }
    }

    /// Its columns: the names that each goes by, and its place in a file without header. A column without a place
    /// must be named; one that ends in `?` may be missing.
    pub(super) const fn columns(self) -> &'static [(&'static str, Option<usize>)] {
        match self {
            Self::Bars => &[
                ("open_time_ms|open_time|timestamp|time|start|date", Some(0)),
                ("open", Some(1)),
                ("high", Some(2)),
                ("low", Some(3)),
                ("close", Some(4)),
                ("volume", Some(5)),
                ("quote_volume|quote_asset_volume?", Some(7)),
                ("taker_buy_volume|taker_buy_base_asset_volume?", Some(9)),
            ],
            Self::BinanceAggTrades => &[
                ("agg_trade_id|agg_id", Some(0)),
                ("price", Some(1)),
                ("quantity|qty", Some(2)),
                ("transact_time|timestamp|time", Some(5)),
                ("is_buyer_maker", Some(6)),
            ],
            Self::BinanceTrades => &[
                ("id|trade_id", Some(0)),
                ("price", Some(1)),
                ("qty|quantity", Some(2)),
                ("time|timestamp", Some(4)),
                ("is_buyer_maker", Some(5)),
            ],
            Self::BinanceBookTicker => &[
                ("best_bid_price", Some(1)),
                ("best_bid_qty", Some(2)),
                ("best_ask_price", Some(3)),
                ("best_ask_qty", Some(4)),
                ("transaction_time", Some(5)),
            ],
            Self::FundingRates => &[
                (
                    "calc_time|open_time_ms|funding_time|timestamp|time",
                    Some(0),
                ),
                ("last_funding_rate|funding_rate", Some(2)),
                ("funding_interval_hours?", Some(1)),
            ],
            Self::TardisBook => &[
                ("timestamp", None),
                ("local_timestamp", None),
                ("is_snapshot", None),
                ("side", None),
                ("price", None),
                ("amount", None),
            ],
            Self::TardisSnapshots => &[("timestamp", None), ("local_timestamp", None)],
            Self::TardisTrades => &[
                ("timestamp", None),
                ("local_timestamp", None),
                ("id", None),
                ("side", None),
                ("price", None),
                ("amount", None),
            ],
            Self::TardisQuotes => &[
                ("timestamp", None),
                ("local_timestamp", None),
                ("bid_price", None),
                ("bid_amount", None),
                ("ask_price", None),
                ("ask_amount", None),
            ],
            Self::TardisDerivative => &[
                ("timestamp", None),
                ("local_timestamp", None),
                ("funding_timestamp", None),
                ("funding_rate", None),
                ("predicted_funding_rate?", None),
                ("index_price", None),
                ("mark_price", None),
            ],
            Self::HftBacktest => &[],
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a file tells of the best prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// Nothing.
    None,
    /// The close of bars.
    Bars,
    /// The best bid and ask.
    Touch,
    /// Several levels.
    Book,
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The edge's own journal.
    Journal,
    /// A venue's frames, one a line.
    Capture,
    /// A table or array of events.
    File(Format),
}

/// The first line that is no comment, and what is left.
pub(super) fn table(path: &Path, progress: Progress) -> Result<csv::Reader<Stream>, HistoryError> {
    let stream = open(path, progress)?;
    Ok(csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(stream))
}

/// Tells what lies at a path by its content.
///
/// # Errors
/// When it cannot be read, or is nothing that is known: the message says what was expected.
pub fn detect(path: &Path) -> Result<Found, HistoryError> {
    if path.is_dir() {
        return Ok(Found::Journal);
    }
    let mut stream = open(path, Progress::Quiet)?;
    let head = stream.fill_buf().map_err(|error| unreadable(path, error))?;
    if head.starts_with(&tickerml_edge::journal::MAGIC) {
        return Ok(Found::Journal);
    }
    if head.starts_with(NPY) {
        return Ok(Found::File(Format::HftBacktest));
    }
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or(head);
    let text = String::from_utf8_lossy(line);
    let is_stamp = |word: &str| {
        word.bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b':'))
    };
    let is_frame = text.starts_with('{')
        || text.starts_with("wss:")
        || text.starts_with("https:")
        || text.starts_with("configuration:")
        || text
            .split_once(' ')
            .is_some_and(|(stamp, rest)| is_stamp(stamp) && rest.starts_with(['{', '[']));
    if is_frame {
        return Ok(Found::Capture);
    }
    let mut first = StringRecord::new();
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let is_row = rows.read_record(&mut first).is_ok_and(|is_row| is_row);
    match of_row(&first).filter(|_| is_row) {
        Some(format) => Ok(Found::File(format)),
        None => Err(HistoryError(format!(
            "{}: begins with {:?}, which is none of: a journal; frames, one JSON a line; Binance klines, aggTrades, \
             trades, bookTicker or fundingRate; Tardis incremental_book_L2, book_snapshot, trades, quotes or \
             derivative_ticker; an HftBacktest .npz; open_time_ms,open,high,low,close,volume",
            path.display(),
            text.chars().take(80).collect::<String>()
        ))),
    }
}

/// Whether a row names columns.
pub(super) fn is_header(row: &StringRecord) -> bool {
    row.get(0)
        .and_then(|cell| cell.trim().chars().next())
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
}

/// The format of a file that begins with this row.
fn of_row(row: &StringRecord) -> Option<Format> {
    if is_header(row) {
        let has = |name: &str| {
            row.iter()
                .any(|cell| cell.trim().eq_ignore_ascii_case(name))
        };
        let all = |names: &[&str]| names.iter().all(|name| has(name));
        return if has("local_timestamp") {
            if all(&["is_snapshot", "side", "price", "amount"]) {
                Some(Format::TardisBook)
            } else if has("asks[0].price") {
                Some(Format::TardisSnapshots)
            } else if all(&["ask_price", "bid_price"]) {
                Some(Format::TardisQuotes)
            } else if has("funding_timestamp") {
                Some(Format::TardisDerivative)
            } else if all(&["id", "side", "price", "amount"]) {
                Some(Format::TardisTrades)
            } else {
                None
            }
        } else if all(&["open", "high", "low", "close"]) {
            Some(Format::Bars)
        } else if has("agg_trade_id") || has("agg_id") {
            Some(Format::BinanceAggTrades)
        } else if has("best_bid_price") {
            Some(Format::BinanceBookTicker)
        } else if has("last_funding_rate") || has("funding_rate") {
            Some(Format::FundingRates)
        } else if all(&["price", "is_buyer_maker"]) {
            Some(Format::BinanceTrades)
        } else {
            None
        };
    }
    // A stamp in milliseconds has thirteen digits, in microseconds sixteen.
    let is_stamp = |place: usize| {
        let cell = row.get(place).unwrap_or("").trim();
        matches!(cell.len(), 13 | 16) && cell.bytes().all(|byte| byte.is_ascii_digit())
    };
    match row.len() {
        6.. if is_stamp(0) && !is_stamp(5) => Some(Format::Bars),
        7 if is_stamp(5) && is_stamp(6) => Some(Format::BinanceBookTicker),
        7 | 8 if is_stamp(5) => Some(Format::BinanceAggTrades),
        6 | 7 if is_stamp(4) => Some(Format::BinanceTrades),
        3 if is_stamp(0) => Some(Format::FundingRates),
        _ => None,
    }
}

/// Where the columns of a format stand in a file; `None` for one that is missing and may be.
pub(super) fn places(format: Format, first: &StringRecord) -> Result<Vec<Option<usize>>, String> {
    let named = is_header(first);
    let mut places = Vec::new();
    for (names, default) in format.columns() {
        let is_optional = names.ends_with('?');
        let names = names.trim_end_matches('?');
        let place = if named {
            // The order of the names is the order of preference.
            names.split('|').find_map(|name| {
                first
                    .iter()
                    .position(|cell| cell.trim().eq_ignore_ascii_case(name))
            })
        } else {
            default.filter(|place| *place < first.len())
        };
        if place.is_none() && !is_optional {
            return Err(format!("has no column {names}"));
        }
        places.push(place);
    }
    Ok(places)
}
