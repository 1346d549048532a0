//! The tape: a market and the orders sent into it, as JSON, and as what the paper venue takes.
//!
//! A file that could be read in two ways is refused: the error names the place, the cause and the
//! remedy.

use std::collections::BTreeMap;

use serde::Deserialize;
use tickerml_shared::event::{Side, Trade};
use tickerml_shared::instrument::{Instrument, InstrumentId, Venue};
use tickerml_shared::num::{self, MAX_SCALE, Price, Qty};
use tickerml_shared::order::{Kind, Order, OrderId, Reason, TimeInForce};
use tickerml_shared::paper::latency::{Latency, Row};
use tickerml_shared::paper::queue::QueueModel;
use tickerml_shared::time::Time;

/// The one instrument of a tape.
pub(crate) const INSTRUMENT: InstrumentId = InstrumentId(0);
/// Times of a tape are below this, so that latencies can be added to them.
const LATEST: u64 = i64::MAX as u64 / 2;

/// A tape.
#[derive(Debug)]
pub(crate) struct Tape {
    /// What is traded.
    pub(crate) instrument: Instrument,
    /// The market, oldest first.
    pub(crate) events: Vec<Event>,
    /// What is asked of the venue, oldest first.
    pub(crate) requests: Vec<Request>,
    /// Which queue model decides fills.
    pub(crate) queue: QueueModel,
    /// How long requests and answers take.
    pub(crate) latency: Latency,
    /// When the tape ends.
    pub(crate) end: Time,
}

/// Something that happened in the market.
#[derive(Debug)]
pub(crate) struct Event {
    /// When.
    pub(crate) at: Time,
    /// What.
    pub(crate) what: What,
}

/// What happened in the market.
#[derive(Debug)]
pub(crate) enum What {
    /// A level holds this much now.
    Level {
        /// Of which side.
        side: Side,
        /// Where.
        price: Price,
        /// How much; zero deletes it.
        qty: Qty,
    },
    /// A trade printed.
    Trade(Trade),
}

/// Something asked of the venue.
#[derive(Debug)]
pub(crate) struct Request {
    /// When.
    pub(crate) at: Time,
    /// About which order.
    pub(crate) id: OrderId,
    /// What.
    pub(crate) ask: Ask,
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Take this order (its time and mid are filled in when it is sent).
    New(Order),
    /// End it.
    Cancel,
    /// Change it.
    Replace(Price, Qty),
}

/// Why a file is no tape.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Where in the file.
    pub(crate) place: String,
    /// What is wrong, and what to do.
    pub(crate) cause: String,
}

fn refuse<T>(place: impl Into<String>, cause: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        place: place.into(),
        cause: cause.into(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTape {
    events: Vec<RawEvent>,
    orders: Vec<RawRequest>,
    queue_model: String,
    #[serde(default)]
    latency_ns: Option<[i64; 2]>,
    #[serde(default)]
    latency_rows: Vec<[i64; 3]>,
    tick: String,
    lot: String,
    end: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawSide {
    Buy,
    Sell,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawEventKind {
    Depth,
    Trade,
    Snapshot,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvent {
    t: u64,
    kind: RawEventKind,
    side: RawSide,
    price: String,
    quantity: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    Limit,
    Market,
    Cancel,
    Replace,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawTimeInForce {
    Gtc,
    Gtx,
    Ioc,
    Fok,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    t: u64,
    id: u64,
    kind: RawKind,
    #[serde(default)]
    side: Option<RawSide>,
    #[serde(default)]
    price: Option<String>,
    #[serde(default)]
    quantity: Option<String>,
    #[serde(default)]
    time_in_force: Option<RawTimeInForce>,
}

impl From<RawSide> for Side {
    fn from(side: RawSide) -> Self {
        match side {
            RawSide::Buy => Self::Buy,
            RawSide::Sell => Self::Sell,
        }
    }
}

impl Tape {
    /// Reads a tape; `queue` takes the place of the queue model that it names.
    ///
    /// # Errors
    /// Says where the text is no tape, and why.
    pub(crate) fn parse(text: &str, queue: Option<QueueModel>) -> Result<Self, Refusal> {
        let raw: RawTape = serde_json::from_str(text).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            let message = error.to_string();
            let cause = message.split(" at line ").next().unwrap_or(&message);
            Refusal {
                place,
                cause: format!("{cause}; docs/PARITY.md tells the format"),
            }
        })?;
        let instrument = instrument(&raw)?;
        let events = events(&raw.events, &instrument)?;
        let requests = requests(&raw.orders, &instrument)?;
        let latency = latency(&raw)?;
        let queue = match (queue, QueueModel::from_name(&raw.queue_model)) {
            (Some(queue), _) | (None, Some(queue)) => queue,
            (None, None) => {
                let known = "risk_averse, log, log2, power3, power2_3, power3_3 and square";
                return refuse(
                    "queue_model",
                    format!("'{}' is not known; known are {known}", raw.queue_model),
                );
            }
        };
        check_times(&raw)?;
        Ok(Self {
            instrument,
            events,
            requests,
            queue,
            latency,
            end: Time(raw.end),
        })
    }
}

/// The instrument: as many decimals as the tick has, and as any quantity has.
fn instrument(raw: &RawTape) -> Result<Instrument, Refusal> {
    let qty_texts = raw
        .events
        .iter()
        .map(|event| event.quantity.as_str())
        .chain(raw.orders.iter().filter_map(|o| o.quantity.as_deref()));
    let qty_scale = qty_texts.fold(num::decimals(&raw.lot), |most, text| {
        most.max(num::decimals(text))
    });
    let price_scale = num::decimals(&raw.tick);
    for (place, scale) in [("tick", price_scale), ("lot and quantities", qty_scale)] {
        if scale > MAX_SCALE {
            return refuse(
                place,
                format!("{scale} decimals; write at most {MAX_SCALE}"),
            );
        }
    }
    let step = |place: &str, text: &str, scale| match num::parse(text, scale) {
        Ok(step) if step > 0 => Ok(step),
        Ok(_) => refuse(place, format!("'{text}' is not positive")),
        Err(error) => refuse(place, format!("'{text}' {error}")),
    };
    let unknown = Instrument::unknown(Venue::Binance, "TAPE").expect("four letters fit");
    Ok(Instrument {
        price_scale,
        qty_scale,
        tick: step("tick", &raw.tick, price_scale)?,
        lot: step("lot", &raw.lot, qty_scale)?,
        ..unknown
    })
}

fn price(place: &str, text: &str, instrument: &Instrument) -> Result<Price, Refusal> {
    let place = format!("{place}.price");
    let price = match instrument.price(text) {
        Ok(price) => price,
        Err(num::NumError::TooPrecise) => return off_tick(place, text),
        Err(error) => return refuse(place, format!("'{text}' {error}")),
    };
    if price.0 <= 0 {
        return refuse(
            place,
            format!("'{text}' is not positive; write a price above zero"),
        );
    }
    if price.0 % instrument.tick != 0 {
        return off_tick(place, text);
    }
    Ok(price)
}

fn off_tick<T>(place: String, text: &str) -> Result<T, Refusal> {
    refuse(
        place,
        format!("'{text}' is no multiple of the tick; round it, or write a smaller \"tick\""),
    )
}

fn quantity(place: &str, text: &str, instrument: &Instrument) -> Result<Qty, Refusal> {
    match instrument.qty(text) {
        Ok(qty) if qty.0 >= 0 => Ok(qty),
        Ok(_) => refuse(
            format!("{place}.quantity"),
            format!("'{text}' is negative; write zero or more"),
        ),
        Err(error) => refuse(format!("{place}.quantity"), format!("'{text}' {error}")),
    }
}

/// The quantity of an order, which is in lots.
fn lots(place: &str, text: &str, instrument: &Instrument) -> Result<Qty, Refusal> {
    let qty = quantity(place, text, instrument)?;
    if qty.0 == 0 || qty.0 % instrument.lot != 0 {
        return refuse(
            format!("{place}.quantity"),
            format!("'{text}' is no positive multiple of the lot; round it"),
        );
    }
    Ok(qty)
}

fn events(raw: &[RawEvent], instrument: &Instrument) -> Result<Vec<Event>, Refusal> {
    let event = |(number, raw): (usize, &RawEvent)| {
        let place = format!("events[{number}]");
        let side = Side::from(raw.side);
        let price = price(&place, &raw.price, instrument)?;
        let qty = quantity(&place, &raw.quantity, instrument)?;
        let what = match raw.kind {
            RawEventKind::Trade => What::Trade(Trade {
                id: 0,
                price,
                qty,
                aggressor: side,
            }),
            // hftbacktest rounds a level to lots to see whether it is there, and keeps it unrounded.
            RawEventKind::Depth | RawEventKind::Snapshot
                if qty.0 > 0 && 2 * qty.0 < instrument.lot =>
            {
                return refuse(
                    format!("{place}.quantity"),
                    format!("'{}' is less than half a lot; write 0", raw.quantity),
                );
            }
            RawEventKind::Depth | RawEventKind::Snapshot => What::Level { side, price, qty },
        };
        let at = Time(raw.t);
        Ok(Event { at, what })
    };
    raw.iter().enumerate().map(event).collect()
}

fn requests(raw: &[RawRequest], instrument: &Instrument) -> Result<Vec<Request>, Refusal> {
    let mut sent = BTreeMap::new();
    let mut requests = Vec::with_capacity(raw.len());
    for (number, raw) in raw.iter().enumerate() {
        let place = format!("orders[{number}]");
        let missing = |key: &str| Refusal {
            place: format!("{place}.{key}"),
            cause: "is missing; write it".to_owned(),
        };
        let limit = || {
            let text = raw.price.as_deref().ok_or_else(|| missing("price"))?;
            price(&place, text, instrument)
        };
        let qty = || {
            let text = raw.quantity.as_deref().ok_or_else(|| missing("quantity"))?;
            lots(&place, text, instrument)
        };
        let first = sent.insert(raw.id, number);
        match (raw.kind, first) {
            (RawKind::Limit | RawKind::Market, Some(earlier)) => {
                let cause = format!(
                    "{} is the id of orders[{earlier}] already; write another",
                    raw.id
                );
                return refuse(format!("{place}.id"), cause);
            }
            (RawKind::Cancel | RawKind::Replace, None) => {
                let cause = format!("no order {} was sent before; write its order first", raw.id);
                return refuse(format!("{place}.id"), cause);
            }
            _ => {}
        }
        let order = |kind, time_in_force| {
            Ok(Ask::New(Order {
                id: OrderId(raw.id),
                instrument: INSTRUMENT,
                side: raw.side.ok_or_else(|| missing("side"))?.into(),
                qty: qty()?,
                kind,
                time_in_force,
                sent: Time(raw.t),
                sent_double_mid: 0,
                reason: Reason::Decision,
            }))
        };
        let ask = match raw.kind {
            RawKind::Cancel => Ask::Cancel,
            RawKind::Replace => Ask::Replace(limit()?, qty()?),
            RawKind::Market => order(Kind::Market, TimeInForce::Ioc)?,
            RawKind::Limit => {
                let force = raw.time_in_force.ok_or_else(|| missing("time_in_force"))?;
                let force = match force {
                    RawTimeInForce::Gtc => TimeInForce::Gtc,
                    RawTimeInForce::Gtx => TimeInForce::PostOnly,
                    RawTimeInForce::Ioc => TimeInForce::Ioc,
                    RawTimeInForce::Fok => TimeInForce::Fok,
                };
                order(Kind::Limit(limit()?), force)?
            }
        };
        requests.push(Request {
            at: Time(raw.t),
            id: OrderId(raw.id),
            ask,
        });
    }
    Ok(requests)
}

fn latency(raw: &RawTape) -> Result<Latency, Refusal> {
    if raw.latency_rows.is_empty() {
        let Some([entry_ns, response_ns]) = raw.latency_ns else {
            return refuse(
                "latency_ns",
                "is missing; write [entry, response] in nanoseconds, or \"latency_rows\"",
            );
        };
        if response_ns < 0 {
            return refuse(
                "latency_ns[1]",
                format!("{response_ns} is negative; write zero or more"),
            );
        }
        return Ok(Latency::Constant {
            entry_ns,
            response_ns,
        });
    }
    let row = |&[request, venue, response]: &[i64; 3]| Row {
        request,
        venue,
        response,
    };
    let rows: Vec<Row> = raw.latency_rows.iter().map(row).collect();
    for (number, row) in rows.iter().enumerate() {
        let taken = row.venue > 0;
        if taken && row.venue < row.request || row.response < row.venue.max(row.request) {
            return refuse(
                format!("latency_rows[{number}]"),
                "goes back in time; write [request, venue, response] in ascending order",
            );
        }
        if number > 0 && row.request <= rows[number - 1].request {
            return refuse(
                format!("latency_rows[{number}][0]"),
                "is not after the row before; sort the rows and keep one of each request time",
            );
        }
    }
    Ok(Latency::Recorded(rows))
}

/// Times must ascend, lie in what can be added to, and the market must come first.
fn check_times(raw: &RawTape) -> Result<(), Refusal> {
    let events = raw.events.iter().map(|event| event.t);
    let orders = raw.orders.iter().map(|order| order.t);
    let lists: [(&str, Vec<u64>); 2] = [("events", events.collect()), ("orders", orders.collect())];
    for (list, times) in &lists {
        for (number, &at) in times.iter().enumerate() {
            if number > 0 && at < times[number - 1] {
                let cause = format!("{at} is before {}; sort by t", times[number - 1]);
                return refuse(format!("{list}[{number}].t"), cause);
            }
            if at == 0 || at > LATEST {
                let cause = format!("{at} is no time in nanoseconds from 1 to {LATEST}");
                return refuse(format!("{list}[{number}].t"), cause);
            }
        }
    }
    let Some(&first) = lists[0].1.first() else {
        return refuse("events", "are missing; write one at least");
    };
    if let Some(&order) = lists[1].1.first().filter(|&&order| order < first) {
        let cause = format!("{order} is before the first event at {first}; send it later");
        return refuse("orders[0].t", cause);
    }
    if raw.end < first || raw.end > LATEST {
        let cause = format!(
            "{} is before the first event at {first}, or no time in nanoseconds up to {LATEST}",
            raw.end
        );
        return refuse("end", cause);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAPE: &str = r#"{
        "events": [
            {"t": 100, "kind": "snapshot", "side": "buy", "price": "99.5", "quantity": "10"},
            {"t": 200, "kind": "trade", "side": "sell", "price": "99.5", "quantity": "0.005"}
        ],
        "orders": [
            {"t": 150, "id": 1, "side": "buy", "price": "99.0", "quantity": "0.02", "kind": "limit", "time_in_force": "gtx"},
            {"t": 160, "id": 2, "side": "sell", "quantity": "1", "kind": "market"},
            {"t": 170, "id": 1, "kind": "replace", "price": "98.5", "quantity": "0.02"},
            {"t": 180, "id": 1, "kind": "cancel"}
        ],
        "queue_model": "power2_3", "latency_ns": [10, 20], "tick": "0.5", "lot": "0.01", "end": 300
    }"#;

    #[test]
    fn reads_a_tape_at_the_scales_that_it_needs() {
        let tape = Tape::parse(TAPE, None).expect("a tape");
        let instrument = &tape.instrument;
        assert_eq!((instrument.price_scale, instrument.tick), (1, 5));
        assert_eq!((instrument.qty_scale, instrument.lot), (3, 10));
        assert_eq!((tape.events.len(), tape.requests.len()), (2, 4));
        assert_eq!(
            tape.queue,
            QueueModel::Power2(tickerml_shared::paper::queue::Exponent::whole(3))
        );
        let other = Tape::parse(TAPE, Some(QueueModel::Log)).expect("a tape");
        assert_eq!(other.queue, QueueModel::Log);
    }

    #[test]
    fn what_is_no_tape_is_refused_by_place_and_cause() {
        let cases = [
            ("\"end\"", "\"ende\"", "line 12", "unknown field `ende`"),
            (
                "\"kind\": \"market\"",
                "\"kind\": \"stop\"",
                "line 8",
                "unknown variant `stop`",
            ),
            (
                "\"price\": \"98.5\"",
                "\"price\": \"98.6\"",
                "orders[2].price",
                "no multiple of the tick",
            ),
            (
                "\"price\": \"98.5\"",
                "\"price\": \"98.55\"",
                "orders[2].price",
                "no multiple of the tick",
            ),
            (
                "\"quantity\": \"10\"",
                "\"quantity\": \"ten\"",
                "events[0].quantity",
                "is not a decimal number",
            ),
            (
                "\"quantity\": \"10\"",
                "\"quantity\": \"0.004\"",
                "events[0].quantity",
                "less than half a lot",
            ),
            (
                "\"quantity\": \"1\"",
                "\"quantity\": \"0.015\"",
                "orders[1].quantity",
                "multiple of the lot",
            ),
            (
                "\"t\": 200",
                "\"t\": 99",
                "events[1].t",
                "99 is before 100; sort by t",
            ),
            ("\"t\": 170", "\"t\": 155", "orders[2].t", "sort by t"),
            (
                "\"t\": 150",
                "\"t\": 50",
                "orders[0].t",
                "before the first event",
            ),
            (
                "\"end\": 300",
                "\"end\": 1",
                "end",
                "before the first event",
            ),
            ("\"id\": 2", "\"id\": 1", "orders[1].id", "write another"),
            (
                "180, \"id\": 1",
                "180, \"id\": 7",
                "orders[3].id",
                "write its order first",
            ),
            (
                ", \"time_in_force\": \"gtx\"",
                "",
                "orders[0].time_in_force",
                "is missing",
            ),
            (
                "power2_3",
                "power0",
                "queue_model",
                "'power0' is not known; known are risk_averse",
            ),
            ("\"latency_ns\": [10, 20], ", "", "latency_ns", "is missing"),
            ("[10, 20]", "[10, -20]", "latency_ns[1]", "negative"),
            (
                "\"latency_ns\": [10, 20]",
                "\"latency_rows\": [[5, 6, 7], [5, 8, 9]]",
                "latency_rows[1][0]",
                "sort the rows",
            ),
            (
                "\"tick\": \"0.5\"",
                "\"tick\": \"0\"",
                "tick",
                "is not positive",
            ),
        ];
        for (from, to, place, cause) in cases {
            assert!(TAPE.contains(from), "{from} is in the tape");
            let refusal = Tape::parse(&TAPE.replacen(from, to, 1), None).expect_err(to);
            assert!(refusal.place.starts_with(place), "{to}: {refusal:?}");
            assert!(refusal.cause.contains(cause), "{to}: {refusal:?}");
        }
    }
}
