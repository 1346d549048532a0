//! Rows of files as events of a market, format by format.

use std::io;
use std::path::Path;

use csv::StringRecord;
use tickerml_shared::event::{Body, DepthKind, Funding, GapReason, Level, RATE_SCALE, Side, Trade};
use tickerml_shared::instrument::Instrument;
use tickerml_shared::num::{Price, Qty};
use tickerml_shared::time::{SECONDS, Time};

use super::HistoryError;
use super::bars::{Bar, Teller};
use super::files::{Progress, Stream, open, unreadable};
use super::format::{Format, is_header, places, table};
use super::heard::{Heard, Queue, depth, gap, heard, level, nearest, price, qty, stamp, touch};
use super::npz::{self, Event, Events};

/// Rows looked at to find the length of bars.
const LENGTH_ROWS: usize = 500;

/// The rows of a file that is open.
pub(super) enum Rows {
    Table {
        reader: csv::Reader<Stream>,
        places: Vec<Option<usize>>,
        row: StringRecord,
        /// The first row is data and waits in `row`.
        waits: bool,
    },
    Events(Events),
}

impl Rows {
    pub(super) fn open(
        path: &Path,
        format: Format,
        progress: Progress,
    ) -> Result<Self, HistoryError> {
        if format == Format::HftBacktest {
            let events = Events::new(open(path, progress)?);
            return Ok(Self::Events(
                events.map_err(|error| unreadable(path, error))?,
            ));
        }
        let mut reader = table(path, progress)?;
        let mut row = StringRecord::new();
        reader
            .read_record(&mut row)
            .map_err(|error| unreadable(path, error))?;
        let found = places(format, &row);
        let mut places = found.map_err(|cause| {
            HistoryError(format!(
                "{}: as {format} it {cause}; name its format or its columns rightly",
                path.display()
            ))
        })?;
        if format == Format::TardisSnapshots {
            places.extend(ladder_places(&row));
        }
        let waits = !is_header(&row);
        Ok(Self::Table {
            reader,
            places,
            row,
            waits,
        })
    }
}

/// Where price and amount of each level stand: asks and bids in turn, best first.
fn ladder_places(header: &StringRecord) -> Vec<Option<usize>> {
    let at = |name: String| header.iter().position(|cell| cell.trim() == name);
    let mut places = Vec::new();
    for index in 0..header.len() {
        let four = ["asks", "bids"]
            .map(|side| ["price", "amount"].map(|what| at(format!("{side}[{index}].{what}"))));
        if four.iter().flatten().any(Option::is_none) {
            break;
        }
        places.extend(four.into_iter().flatten());
    }
    places
}

/// The length of a file's bars: the least distance of two that follow one another.
pub(super) fn bar_length(path: &Path) -> Result<u64, HistoryError> {
    let mut rows = Rows::open(path, Format::Bars, Progress::Quiet)?;
    let Rows::Table {
        reader,
        places,
        row,
        waits,
    } = &mut rows
    else {
        return Err(HistoryError(format!("{}: holds no bars", path.display())));
    };
    let (mut before, mut least) = (None, None::<u64>);
    for _ in 0..LENGTH_ROWS {
        if !std::mem::take(waits)
            && !reader
                .read_record(row)
                .map_err(|error| unreadable(path, error))?
        {
            break;
        }
        let Ok(start) = cell(row, places, 0).and_then(stamp) else {
            continue;
        };
        if let Some(length) = before
            .map(|before| start.since(before))
            .filter(|length| *length > 0)
        {
            least = Some(least.map_or(length.cast_unsigned(), |least| {
                least.min(length.cast_unsigned())
            }));
        }
        before = Some(start);
    }
    least.ok_or_else(|| {
        HistoryError(format!(
            "{}: has fewer than two bars, so their length is unknown; name it",
            path.display()
        ))
    })
}

/// The text of a column.
fn cell<'a>(
    row: &'a StringRecord,
    places: &[Option<usize>],
    column: usize,
) -> Result<&'a str, String> {
    let place = places.get(column).copied().flatten();
    let text = place.and_then(|place| row.get(place)).unwrap_or("").trim();
    if text.is_empty() {
        Err("a column is empty".to_owned())
    } else {
        Ok(text)
    }
}

/// Levels of one message that arrive row by row.
#[derive(Default)]
struct Message {
    /// Receive stamp, venue's stamp.
    times: (Time, Time),
    is_snapshot: bool,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

/// What is remembered from row to row, and from file to file, of one format of one instrument.
pub(super) struct Decoder {
    format: Format,
    instrument: Instrument,
    teller: Option<Teller>,
    message: Option<Message>,
    /// A clear of the book waits for the snapshot that follows it.
    settled: Option<Time>,
    newest: Time,
    /// Rows read.
    pub(super) rows: u64,
    /// Rows that could not be used.
    pub(super) bad: u64,
    /// The first of them, and why.
    pub(super) first_bad: Option<String>,
}

impl Decoder {
    pub(super) fn new(format: Format, instrument: Instrument, bars: Option<(u64, f64)>) -> Self {
        let teller =
            bars.map(|(length_ns, spread_bps)| Teller::new(&instrument, length_ns, spread_bps));
        Self {
            format,
            instrument,
            teller,
            message: None,
            settled: None,
            newest: Time::UNKNOWN,
            rows: 0,
            bad: 0,
            first_bad: None,
        }
    }

    /// Reads until there is an event. False at the end of the file, when what waited has been told.
    pub(super) fn fill(&mut self, rows: &mut Rows, out: &mut Queue) -> io::Result<bool> {
        while out.is_empty() {
            let told = match rows {
                Rows::Table {
                    reader,
                    places,
                    row,
                    waits,
                } => {
                    if !std::mem::take(waits)
                        && !reader.read_record(row).map_err(io::Error::other)?
                    {
                        self.finish(out);
                        return Ok(!out.is_empty());
                    }
                    self.row(row, places, out)
                }
                Rows::Events(events) => match events.next()? {
                    Some(event) => self.event(&event, out),
                    None => {
                        self.finish(out);
                        return Ok(!out.is_empty());
                    }
                },
            };
            self.rows += 1;
            if let Err(cause) = told {
                self.refuse(&cause, out);
            }
            for event in out.iter_mut() {
                // A file whose stamps go back is put in order of reading.
                event.at = event.at.max(self.newest);
                self.newest = event.at;
            }
        }
        Ok(true)
    }

    /// A row that says nothing usable leaves a gap, so that the step it lies in is masked.
    fn refuse(&mut self, cause: &str, out: &mut Queue) {
        self.bad += 1;
        if self.first_bad.is_none() {
            self.first_bad = Some(format!("row {}: {cause}", self.rows));
        }
        match &self.teller {
            Some(teller) => teller.lost(out),
            None if self.newest.is_known() => {
                out.push_back(gap(self.newest, GapReason::Unparsable))
            }
            None => {}
        }
    }

    fn row(
        &mut self,
        row: &StringRecord,
        places: &[Option<usize>],
        out: &mut Queue,
    ) -> Result<(), String> {
        let instrument = &self.instrument;
        let text = |column| cell(row, places, column);
        let times = || -> Result<(Time, Time), String> { Ok((stamp(text(1)?)?, stamp(text(0)?)?)) };
        match self.format {
            Format::Bars => {
                let bar = bar(instrument, row, places)?;
                let Some(teller) = &mut self.teller else {
                    return Err("bars without a length".to_owned());
                };
                teller.tell(&bar, out).map_err(str::to_owned)
            }
            Format::BinanceAggTrades | Format::BinanceTrades => {
                let maker = is_true(text(4)?)?;
                let at = stamp(text(3)?)?;
                let trade = Trade {
                    id: text(0)?.parse().unwrap_or(0),
                    price: price(instrument, text(1)?)?,
                    qty: qty(instrument, text(2)?)?,
                    aggressor: if maker { Side::Sell } else { Side::Buy },
                };
                out.push_back(heard(at, Body::Trade(positive(trade)?)));
                Ok(())
            }
            Format::BinanceBookTicker => {
                let at = stamp(text(4)?)?;
                let bid = level(instrument, text(0)?, text(1)?)?;
                let ask = level(instrument, text(2)?, text(3)?)?;
                touch(out, (at, at), bid, ask);
                Ok(())
            }
            Format::FundingRates => {
                let at = stamp(text(0)?)?;
                let rate = text(1)?;
                let hours = text(2).ok().and_then(|hours| hours.parse::<u64>().ok());
                self.funding(at, rate, hours, out)
            }
            Format::TardisBook => {
                let is_snapshot = is_true(text(2)?)?;
                let (level, times) = (level(instrument, text(4)?, text(5)?)?, times()?);
                let is_bid = is_bid(text(3)?)?;
                self.part(times, is_snapshot, is_bid, level, out);
                Ok(())
            }
            Format::TardisSnapshots => snapshot(instrument, row, places, times()?, out),
            Format::TardisTrades => {
                let (at, venue_time) = times()?;
                let aggressor = match text(3)? {
                    "buy" => Side::Buy,
                    "sell" => Side::Sell,
                    other => return Err(format!("side {other:?} is neither buy nor sell")),
                };
                let trade = Trade {
                    id: text(2).ok().and_then(|id| id.parse().ok()).unwrap_or(0),
                    price: price(instrument, text(4)?)?,
                    qty: qty(instrument, text(5)?)?,
                    aggressor,
                };
                let body = Body::Trade(positive(trade)?);
                out.push_back(Heard {
                    at,
                    venue_time,
                    body,
                });
                Ok(())
            }
            Format::TardisQuotes => {
                let bid = level(instrument, text(2)?, text(3)?)?;
                let ask = level(instrument, text(4)?, text(5)?)?;
                touch(out, times()?, bid, ask);
                Ok(())
            }
            Format::TardisDerivative => {
                let (at, venue_time) = times()?;
                let optional = |column| {
                    text(column)
                        .ok()
                        .map(|text| price(instrument, text))
                        .transpose()
                };
                let funding = Funding {
                    mark: optional(6)?.unwrap_or_default(),
                    index: optional(5)?.unwrap_or_default(),
                    rate: text(3).ok().map(rate).transpose()?,
                    predicted: text(4).ok().map(rate).transpose()?,
                    settles: text(2).ok().map(stamp).transpose()?.unwrap_or_default(),
                    interval_s: 0,
                };
                let body = Body::Funding(funding);
                out.push_back(Heard {
                    at,
                    venue_time,
                    body,
                });
                Ok(())
            }
            Format::HftBacktest => Err("is no table".to_owned()),
        }
    }

    /// A settlement. Of the interval that begins then no more is known than the rate just settled, so that is what
    /// is told of it, never the rate that it will settle at.
    fn funding(
        &mut self,
        at: Time,
        text: &str,
        hours: Option<u64>,
        out: &mut Queue,
    ) -> Result<(), String> {
        let before = self.settled.replace(at);
        let spacing = before
            .map(|before| at.since(before))
            .filter(|spacing| *spacing > 0);
        // Settlements are stamped some milliseconds late.
        let spacing_s = spacing.map(|spacing| (spacing.cast_unsigned() + SECONDS / 2) / SECONDS);
        let Some(interval_s) = hours.map(|hours| hours * 3_600).or(spacing_s) else {
            return Ok(());
        };
        let funding = Funding {
            mark: Price(0),
            index: Price(0),
            rate: Some(rate(text)?),
            predicted: None,
            settles: at.plus(interval_s * SECONDS),
            interval_s: u32::try_from(interval_s).unwrap_or(0),
        };
        out.push_back(heard(at, Body::Funding(funding)));
        Ok(())
    }

    /// A level of a message: those of one stamp and kind are one message.
    fn part(
        &mut self,
        times: (Time, Time),
        is_snapshot: bool,
        is_bid: bool,
        level: Level,
        out: &mut Queue,
    ) {
        let goes_on =
            |message: &Message| message.times == times && message.is_snapshot == is_snapshot;
        if !self.message.as_ref().is_some_and(goes_on) {
            self.finish(out);
        }
        let message = self.message.get_or_insert_with(|| Message {
            times,
            is_snapshot,
            ..Message::default()
        });
        if is_bid {
            message.bids.push(level);
        } else {
            message.asks.push(level);
        }
    }

    /// Tells the message that waits.
    fn finish(&mut self, out: &mut Queue) {
        if let Some(message) = self.message.take() {
            let kind = if message.is_snapshot {
                DepthKind::Snapshot {
                    truncated: false,
                    limit: 0,
                }
            } else {
                DepthKind::Delta
            };
            depth(out, message.times, kind, &message.bids, &message.asks);
        }
    }

    fn event(&mut self, event: &Event, out: &mut Queue) -> Result<(), String> {
        if event.ev & npz::LOCAL == 0 {
            // Only the exchange sees it: it is in the file once more, or nobody here heard of it.
            return Ok(());
        }
        let time = |stamp: i64| {
            u64::try_from(stamp)
                .map(Time)
                .map_err(|_| format!("{stamp} is no time"))
        };
        let times = (time(event.local_ts)?, time(event.exch_ts)?);
        let is_bid = match (event.ev & npz::BUY != 0, event.ev & npz::SELL != 0) {
            (true, false) => true,
            (false, true) => false,
            _ if event.ev & 0xff == npz::CLEAR => true,
            _ => return Err("an event of no side".to_owned()),
        };
        let number = |value: f64, scale| {
            let found = Some(value)
                .filter(|value| value.is_finite())
                .and_then(|value| nearest(value, scale));
            found.ok_or_else(|| format!("{value} is no price or quantity"))
        };
        let level = |event: &Event| -> Result<Level, String> {
            Ok(Level {
                price: Price(number(event.px, self.instrument.price_scale)?),
                qty: Qty(number(event.qty, self.instrument.qty_scale)?),
            })
        };
        match event.ev & 0xff {
            npz::DEPTH => {
                let level = level(event)?;
                self.part(times, false, is_bid, level, out);
            }
            npz::SNAPSHOT => {
                let level = level(event)?;
                self.part(times, true, is_bid, level, out);
            }
            npz::TRADE => {
                let Level { price, qty } = level(event)?;
                let aggressor = if is_bid { Side::Buy } else { Side::Sell };
                let trade = Trade {
                    id: 0,
                    price,
                    qty,
                    aggressor,
                };
                self.finish(out);
                out.push_back(Heard {
                    at: times.0,
                    venue_time: times.1,
                    body: Body::Trade(positive(trade)?),
                });
            }
            // The snapshot that follows replaces the book; the best prices are in it as well.
            npz::CLEAR | npz::BBO => self.finish(out),
            other => {
                return Err(format!(
                    "event {other} is of single orders; give events of price levels"
                ));
            }
        }
        Ok(())
    }
}

fn bar(
    instrument: &Instrument,
    row: &StringRecord,
    places: &[Option<usize>],
) -> Result<Bar, String> {
    let text = |column| cell(row, places, column);
    let of = |column| price(instrument, text(column)?);
    let (high, low, close) = (of(2)?, of(3)?, of(4)?);
    let volume = qty(instrument, text(5)?)?;
    let value = text(6).ok().and_then(|text| text.parse::<f64>().ok());
    let base = text(5)?.parse::<f64>().unwrap_or(0.0);
    let vwap = value
        .filter(|_| base > 0.0)
        .and_then(|value| nearest(value / base, instrument.price_scale))
        .map_or_else(
            || nearest((high.0 as f64 + low.0 as f64 + close.0 as f64) / 3.0, 0).map(Price),
            |vwap| Some(Price(vwap)),
        );
    let bought = match text(7) {
        Ok(text) => qty(instrument, text)?,
        Err(_) => Qty(volume.0 / 2),
    };
    let is_bar = low <= high;
    Ok(Bar {
        start: stamp(text(0)?)?,
        open: of(1)?,
        high,
        low,
        close,
        volume,
        // A quotient may miss the bar by a rounding.
        vwap: vwap
            .filter(|_| is_bar)
            .unwrap_or(close)
            .clamp(low.min(high), high.max(low)),
        bought,
    })
}

fn snapshot(
    instrument: &Instrument,
    row: &StringRecord,
    places: &[Option<usize>],
    times: (Time, Time),
    out: &mut Queue,
) -> Result<(), String> {
    let (mut bids, mut asks) = (Vec::new(), Vec::new());
    for four in (2..places.len()).step_by(4) {
        for (side, column) in [(&mut asks, four), (&mut bids, four + 2)] {
            // A thin book has fewer levels than columns.
            if let (Ok(at), Ok(amount)) = (cell(row, places, column), cell(row, places, column + 1))
            {
                side.push(level(instrument, at, amount)?);
            }
        }
    }
    let limit = u16::try_from((places.len() - 2) / 4).unwrap_or(0);
    let kind = DepthKind::Snapshot {
        truncated: true,
        limit,
    };
    depth(out, times, kind, &bids, &asks);
    Ok(())
}

/// A trade of something for something.
fn positive(trade: Trade) -> Result<Trade, String> {
    if trade.price.0 > 0 && trade.qty.0 > 0 {
        Ok(trade)
    } else {
        Err("a trade of nothing".to_owned())
    }
}

fn is_true(text: &str) -> Result<bool, String> {
    match text {
        "true" | "True" | "TRUE" | "1" => Ok(true),
        "false" | "False" | "FALSE" | "0" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

fn is_bid(text: &str) -> Result<bool, String> {
    match text {
        "bid" | "buy" => Ok(true),
        "ask" | "sell" => Ok(false),
        other => Err(format!("side {other:?} is neither bid nor ask")),
    }
}

/// A funding rate in units of `10^-12`.
fn rate(text: &str) -> Result<i64, String> {
    let value = text
        .parse()
        .ok()
        .and_then(|value| nearest(value, RATE_SCALE));
    value.ok_or_else(|| format!("{text:?} is no rate"))
}
