//! The venues' own bars, by REST: how to ask for them and how to read the answer.
//!
//! Only bars that are over are given, oldest first, so that features can take them in as if they had
//! been there. A venue that states no such thing, or whose REST root is not configured, is not asked.
//! Sources: Binance "Kline/Candlestick data" (spot and USDT-M), Coinbase "Get product candles"
//! (Exchange) and "Get public product candles" (Advanced Trade), Kraken "Get OHLC data", KuCoin "Get
//! klines" (spot).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use tickerml_shared::event::Candle;
use tickerml_shared::features::bars::Timeframe;
use tickerml_shared::instrument::{Instrument, Venue};
use tickerml_shared::num::{Price, Qty, div_round, pow10, saturate};
use tickerml_shared::time::{SECONDS, Time};

use super::Endpoint;
use super::reader::Unreadable;
use super::wire::{bare, nearest, stamp};

/// Bars asked for at once: what the longest window of an indicator needs, and as many again for the
/// recursive ones to settle. Every venue gives so many.
pub const BARS: u64 = 200;
/// Decimals in which a bar's traded value is read.
const VALUE_SCALE: u8 = 4;

/// The address that answers with the newest bars of an instrument; `None` where there is none.
#[must_use]
pub fn request(
    instrument: &Instrument,
    endpoint: &Endpoint,
    timeframe: Timeframe,
    now: Time,
) -> Option<String> {
    let (root, symbol) = (&endpoint.rest, &instrument.symbol);
    if root.is_empty() {
        return None;
    }
    let end = now.0 / SECONDS;
    let start = end.saturating_sub(BARS * timeframe.seconds());
    let named = |names: [&'static str; 6]| Some(names[place(timeframe)?]);
    let short = || named(["1m", "5m", "15m", "1h", "4h", "1d"]);
    match instrument.venue {
        Venue::Binance | Venue::BinanceUs => short().map(|interval| {
            format!("{root}/api/v3/klines?symbol={symbol}&interval={interval}&limit={BARS}")
        }),
        Venue::BinanceUsdm => short().map(|interval| {
            format!("{root}/fapi/v1/klines?symbol={symbol}&interval={interval}&limit={BARS}")
        }),
        // It has bars of six hours, but none of four.
        Venue::Coinbase => {
            (timeframe != Timeframe::Hour4 && place(timeframe).is_some()).then(|| {
                let seconds = timeframe.seconds();
                format!(
                    "{root}/products/{symbol}/candles?granularity={seconds}&start={start}&end={end}"
                )
            })
        }
        Venue::CoinbaseAdvanced => {
            let names = [
                "ONE_MINUTE",
                "FIVE_MINUTE",
                "FIFTEEN_MINUTE",
                "ONE_HOUR",
                "FOUR_HOUR",
                "ONE_DAY",
            ];
            named(names).map(|name| {
                format!(
                    "{root}/api/v3/brokerage/market/products/{symbol}/candles\
                     ?start={start}&end={end}&granularity={name}"
                )
            })
        }
        Venue::Kraken => place(timeframe).map(|_| {
            let (pair, minutes) = (kraken_pair(symbol), timeframe.seconds() / 60);
            format!("{root}/0/public/OHLC?pair={pair}&interval={minutes}&since={start}")
        }),
        Venue::Kucoin | Venue::KucoinUta => {
            named(["1min", "5min", "15min", "1hour", "4hour", "1day"]).map(|name| {
                format!(
                    "{root}/api/v1/market/candles?symbol={symbol}&type={name}\
                     &startAt={start}&endAt={end}"
                )
            })
        }
        Venue::KrakenFutures | Venue::KucoinFutures => None,
    }
}

/// Places of the timeframes that venues have, shortest first; seconds are ours alone.
const fn place(timeframe: Timeframe) -> Option<usize> {
    match timeframe {
        Timeframe::Second1 => None,
        _ => Some(timeframe as usize - 1),
    }
}

/// The name under which Kraken's REST interface knows a pair: without the slash, and with its own
/// codes of two assets.
fn kraken_pair(symbol: &str) -> String {
    let (base, quote) = symbol.split_once('/').unwrap_or((symbol, ""));
    let base = match base {
        "BTC" => "XBT",
        "DOGE" => "XDG",
        other => other,
    };
    format!("{base}{quote}")
}

/// One row of an answer as the wire prints it.
struct Row<'a> {
    start: &'a RawValue,
    open: &'a str,
    high: &'a str,
    low: &'a str,
    close: &'a str,
    volume: &'a str,
    average: Average<'a>,
    bought: Option<&'a str>,
}

/// What a venue says about the average price of a bar.
enum Average<'a> {
    /// The price itself.
    Price(&'a str),
    /// The traded value.
    Value(&'a str),
    /// Nothing: the typical price, a third of high, low and close together, stands for it.
    Unknown,
}

#[derive(Deserialize)]
struct CoinbaseAdvanced<'a> {
    #[serde(borrow)]
    candles: Vec<CoinbaseCandle<'a>>,
}

#[derive(Deserialize)]
struct CoinbaseCandle<'a> {
    #[serde(borrow)]
    start: &'a RawValue,
    open: &'a str,
    high: &'a str,
    low: &'a str,
    close: &'a str,
    volume: &'a str,
}

#[derive(Deserialize)]
struct KrakenAnswer<'a> {
    error: Vec<&'a str>,
    #[serde(borrow, default)]
    result: BTreeMap<&'a str, &'a RawValue>,
}

#[derive(Deserialize)]
struct KucoinAnswer<'a> {
    code: &'a str,
    #[serde(borrow, default)]
    data: Vec<Vec<&'a RawValue>>,
}

/// Reads an answer: the bars that are over at `now`, oldest first, each once.
///
/// # Errors
/// [`Unreadable`] when it is not what the venue is known to send, or refuses.
pub fn read(
    instrument: &Instrument,
    timeframe: Timeframe,
    body: &str,
    now: Time,
) -> Result<Vec<Candle>, Unreadable> {
    let mut candles = BTreeMap::new();
    let mut take = |row: Row<'_>| -> Result<(), Unreadable> {
        let candle = candle(instrument, timeframe, &row)?;
        if candle.start.plus(timeframe.seconds() * SECONDS) <= now {
            candles.insert(candle.start, candle);
        }
        Ok(())
    };
    match instrument.venue {
        Venue::Binance | Venue::BinanceUs | Venue::BinanceUsdm => {
            let rows: Vec<Vec<&RawValue>> = serde_json::from_str(body)?;
            for row in &rows {
                take(columns(row, [0, 1, 2, 3, 4, 5], Some(7), Some(9))?)?;
            }
        }
        Venue::Coinbase => {
            let rows: Vec<Vec<&RawValue>> = serde_json::from_str(body)?;
            for row in &rows {
                take(columns(row, [0, 3, 2, 1, 4, 5], None, None)?)?;
            }
        }
        Venue::CoinbaseAdvanced => {
            let answer: CoinbaseAdvanced<'_> = serde_json::from_str(body)?;
            for row in &answer.candles {
                take(Row {
                    start: row.start,
                    open: row.open,
                    high: row.high,
                    low: row.low,
                    close: row.close,
                    volume: row.volume,
                    average: Average::Unknown,
                    bought: None,
                })?;
            }
        }
        Venue::Kraken => {
            let answer: KrakenAnswer<'_> = serde_json::from_str(body)?;
            if let Some(error) = answer.error.first() {
                return Err(Unreadable::new(format_args!("the venue refused: {error}")));
            }
            // Beside the pair stands `last`, a number.
            let pair = answer.result.iter().find(|(name, _)| **name != "last");
            let (_, rows) = pair.ok_or_else(|| Unreadable::new("an answer without a pair"))?;
            let rows: Vec<Vec<&RawValue>> = serde_json::from_str(rows.get())?;
            for row in &rows {
                let mut columns = columns(row, [0, 1, 2, 3, 4, 6], None, None)?;
                columns.average = Average::Price(bare(row[5]));
                take(columns)?;
            }
        }
        Venue::Kucoin | Venue::KucoinUta => {
            let answer: KucoinAnswer<'_> = serde_json::from_str(body)?;
            if answer.code != "200000" {
                return Err(Unreadable::new(format_args!("the venue refused: {body}")));
            }
            for row in &answer.data {
                take(columns(row, [0, 1, 3, 4, 2, 5], Some(6), None)?)?;
            }
        }
        Venue::KrakenFutures | Venue::KucoinFutures => {
            return Err(Unreadable::new("bars that nobody asked for"));
        }
    }
    let mut candles: Vec<Candle> = candles.into_values().collect();
    if let Some(first) = candles.first_mut() {
        first.first = true;
    }
    Ok(candles)
}

/// A row by its columns: start, open, high, low, close and volume, then traded value and the part
/// that buyers took, where the venue states them.
fn columns<'a>(
    row: &[&'a RawValue],
    places: [usize; 6],
    value: Option<usize>,
    bought: Option<usize>,
) -> Result<Row<'a>, Unreadable> {
    let column = |place: usize| {
        let missing = || Unreadable::new(format_args!("a bar without column {place}"));
        row.get(place).copied().ok_or_else(missing)
    };
    let text = |place: usize| column(place).map(bare);
    Ok(Row {
        start: column(places[0])?,
        open: text(places[1])?,
        high: text(places[2])?,
        low: text(places[3])?,
        close: text(places[4])?,
        volume: text(places[5])?,
        average: match value {
            Some(place) => Average::Value(text(place)?),
            None => Average::Unknown,
        },
        bought: bought.map(text).transpose()?,
    })
}

fn candle(
    instrument: &Instrument,
    timeframe: Timeframe,
    row: &Row<'_>,
) -> Result<Candle, Unreadable> {
    // Venues compute bars, and print what they computed: the nearest number that we count in.
    let price = |text| nearest(text, instrument.price_scale).map(Price);
    let qty = |text| nearest(text, instrument.qty_scale).map(Qty);
    let (high, low, close) = (price(row.high)?, price(row.low)?, price(row.close)?);
    let volume = qty(row.volume)?;
    let vwap = match row.average {
        _ if volume.0 <= 0 => close,
        Average::Price(text) => price(text)?,
        Average::Value(text) => {
            let value = i128::from(nearest(text, VALUE_SCALE)?);
            let scale = i128::from(pow10(instrument.price_scale));
            let scaled = value * i128::from(pow10(instrument.qty_scale));
            let value_one = i128::from(pow10(VALUE_SCALE));
            Price(div_round(
                scaled.saturating_mul(scale),
                i128::from(volume.0) * value_one,
            ))
        }
        Average::Unknown => {
            let sum = i128::from(high.0) + i128::from(low.0) + i128::from(close.0);
            Price(saturate(sum / 3))
        }
    };
    let start = stamp(Some(row.start));
    if !start.is_known() || !start.0.is_multiple_of(timeframe.seconds() * SECONDS) {
        return Err(Unreadable::new(format_args!(
            "{} does not begin a bar of {}",
            row.start.get(),
            timeframe.name()
        )));
    }
    Ok(Candle {
        timeframe,
        first: false,
        start,
        open: price(row.open)?,
        high,
        low,
        close,
        vwap,
        volume,
        bought: match row.bought {
            Some(text) => qty(text)?,
            None => Qty(volume.0 / 2),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_700_000_100 * SECONDS);

    fn instrument(venue: Venue, symbol: &str) -> Instrument {
        Instrument {
            price_scale: 2,
            qty_scale: 4,
            ..Instrument::unknown(venue, symbol).expect("short")
        }
    }

    /// The bars that follow from `body`, as (start, open, high, low, close, vwap, volume, bought).
    fn bars(venue: Venue, body: &str) -> Vec<[i64; 8]> {
        let candles = read(&instrument(venue, "T"), Timeframe::Minute1, body, NOW).expect("bars");
        assert!(candles.iter().skip(1).all(|candle| !candle.first));
        assert!(candles.first().is_none_or(|candle| candle.first));
        let row = |candle: &Candle| {
            [
                i64::try_from(candle.start.0 / SECONDS).expect("small") - 1_700_000_000,
                candle.open.0,
                candle.high.0,
                candle.low.0,
                candle.close.0,
                candle.vwap.0,
                candle.volume.0,
                candle.bought.0,
            ]
        };
        candles.iter().map(row).collect()
    }

    #[test]
    fn each_venue_says_the_same_in_its_own_order() {
        // Two bars of a minute that are over, and one that is not: 1 unit at 10.05 on average.
        let first = [-20, 1000, 1020, 990, 1010, 1005, 10_000, 5_000];
        let second = [40, 1010, 1010, 1010, 1010, 1010, 0, 0];
        let binance = r#"[[1699999980000,"10.00","10.20","9.90","10.10","1.0000",1700000039999,"10.05",7,"0.5","5.0","0"],
            [1700000040000,"10.10","10.10","10.10","10.10","0",1700000099999,"0",0,"0","0","0"],
            [1700000100000,"10.10","10.10","10.10","10.10","0",1700000159999,"0",0,"0","0","0"]]"#;
        assert_eq!(bars(Venue::Binance, binance), [first, second]);
        assert_eq!(bars(Venue::BinanceUsdm, binance), [first, second]);
        let kraken = r#"{"error":[],"result":{"XXBTZUSD":[
            [1699999980,"10.00","10.20","9.90","10.10","10.05","1.0",7],
            [1700000040,"10.10","10.10","10.10","10.10","0.0","0",0],
            [1700000100,"10.10","10.10","10.10","10.10","0.0","0",0]],"last":1700000040}}"#;
        assert_eq!(bars(Venue::Kraken, kraken), [first, second]);
        let kucoin = r#"{"code":"200000","data":[
            ["1700000100","10.1","10.1","10.1","10.1","0","0"],
            ["1700000040","10.1","10.1","10.1","10.1","0","0"],
            ["1699999980","10.0","10.1","10.2","9.9","1","10.05"]]}"#;
        assert_eq!(bars(Venue::Kucoin, kucoin), [first, second]);
        assert_eq!(bars(Venue::KucoinUta, kucoin), [first, second]);
        // Without a traded value the typical price stands for the average: (10.2 + 9.9 + 10.1) / 3.
        let typical = [-20, 1000, 1020, 990, 1010, 1006, 10_000, 5_000];
        let exchange = "[[1700000040,10.1,10.1,10.1,10.1,0],[1699999980,9.9,10.2,10.0,10.1,1.0]]";
        assert_eq!(bars(Venue::Coinbase, exchange), [typical, second]);
        let advanced = r#"{"candles":[
            {"start":"1700000040","low":"10.1","high":"10.1","open":"10.1","close":"10.1","volume":"0"},
            {"start":"1699999980","low":"9.9","high":"10.2","open":"10.0","close":"10.1","volume":"1"}]}"#;
        assert_eq!(bars(Venue::CoinbaseAdvanced, advanced), [typical, second]);
    }

    #[test]
    fn what_is_not_a_bar_is_refused() {
        for (venue, body) in [
            (Venue::Binance, r#"[[1699999980000,"10","11"]]"#),
            (
                Venue::Binance,
                r#"[[1699999981000,"10","11","9","10","1",0,"10",1,"1"]]"#,
            ),
            (
                Venue::Binance,
                r#"[[1699999980000,"x","11","9","10","1",0,"10",1,"1"]]"#,
            ),
            (Venue::Kraken, r#"{"error":["EQuery:Unknown asset pair"]}"#),
            (Venue::Kucoin, r#"{"code":"400100","msg":"no"}"#),
            (Venue::KrakenFutures, "[]"),
        ] {
            let read = read(&instrument(venue, "T"), Timeframe::Minute1, body, NOW);
            assert!(read.is_err(), "{body}");
        }
    }

    #[test]
    fn every_venue_is_asked_in_its_own_words() {
        let ask = |venue, symbol: &str, timeframe| {
            let endpoint = Endpoint {
                ws: String::new(),
                rest: "https://rest".to_owned(),
            };
            request(&instrument(venue, symbol), &endpoint, timeframe, NOW)
        };
        for (venue, symbol, timeframe, want) in [
            (
                Venue::BinanceUs,
                "BTCUSDT",
                Timeframe::Hour4,
                "/api/v3/klines?symbol=BTCUSDT&interval=4h&limit=200",
            ),
            (
                Venue::BinanceUsdm,
                "BTCUSDT",
                Timeframe::Day1,
                "/fapi/v1/klines?symbol=BTCUSDT&interval=1d&limit=200",
            ),
            (
                Venue::Coinbase,
                "BTC-USD",
                Timeframe::Minute1,
                "/products/BTC-USD/candles?granularity=60&start=1699988100&end=1700000100",
            ),
            (
                Venue::CoinbaseAdvanced,
                "BTC-USD",
                Timeframe::Minute5,
                "/api/v3/brokerage/market/products/BTC-USD/candles?start=1699940100&end=1700000100&granularity=FIVE_MINUTE",
            ),
            (
                Venue::Kraken,
                "BTC/USD",
                Timeframe::Hour1,
                "/0/public/OHLC?pair=XBTUSD&interval=60&since=1699280100",
            ),
            (
                Venue::KucoinUta,
                "BTC-USDT",
                Timeframe::Minute15,
                "/api/v1/market/candles?symbol=BTC-USDT&type=15min&startAt=1699820100&endAt=1700000100",
            ),
        ] {
            assert_eq!(
                ask(venue, symbol, timeframe),
                Some(format!("https://rest{want}"))
            );
            assert_eq!(ask(venue, symbol, Timeframe::Second1), None);
        }
        assert_eq!(ask(Venue::Coinbase, "BTC-USD", Timeframe::Hour4), None);
        assert_eq!(
            ask(Venue::KucoinFutures, "XBTUSDTM", Timeframe::Hour1),
            None
        );
    }
}
