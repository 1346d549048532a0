//! Records as bytes: the journal's payload.
//!
//! A batch of consecutive records is coded against itself: stamps, ids and prices as differences to
//! the ones before, so that a quiet book costs a few bytes an event before compression. A batch
//! stands alone; a damaged one costs no other. What is rare is plain postcard.

use alloc::vec::Vec;
use core::fmt;

use heapless::index_map::FnvIndexMap;

use crate::event::{
    Body, Checksum, Depth, DepthKind, Event, LEVELS_PER_PART, Level, Record, Side, Touch, Trade,
    Update,
};
use crate::instrument::{InstrumentId, MAX_INSTRUMENTS};
use crate::num::{Price, Qty};
use crate::time::Time;

/// Why bytes are not a batch of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// They end too early.
    Short,
    /// A value that no encoder writes.
    Invalid,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "a batch of records ends too early",
            Self::Invalid => "a batch of records holds a value that no encoder writes",
        })
    }
}

const DEPTH: u8 = 0;
const TOUCH: u8 = 1;
const TRADE: u8 = 2;
/// A market event that is rare enough for postcard.
const OTHER_MARKET: u8 = 3;
const PULSE: u8 = 4;
const OTHER: u8 = 5;
/// Set in the tag of a late update.
const LATE: u8 = 0x80;

/// What the next record of an instrument is coded against.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    venue_time: u64,
    id: u64,
    trade: u64,
    price: i64,
}

/// The memory of one batch, the same in encoder and decoder.
#[derive(Debug, Default)]
struct Context {
    at: u64,
    received: u64,
    last: FnvIndexMap<u16, Last, MAX_INSTRUMENTS>,
}

impl Context {
    fn last(&mut self, instrument: InstrumentId) -> Result<&mut Last, DecodeError> {
        if !self.last.contains_key(&instrument.0) {
            self.last
                .insert(instrument.0, Last::default())
                .map_err(|_| DecodeError::Invalid)?;
        }
        self.last.get_mut(&instrument.0).ok_or(DecodeError::Invalid)
    }
}

/// Codes consecutive records into one batch.
#[derive(Debug, Default)]
pub struct Encoder {
    context: Context,
    first_seq: u64,
    count: u32,
    bytes: Vec<u8>,
}

impl Encoder {
    /// An empty batch that writes into this buffer.
    #[must_use]
    pub fn new(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            context: Context::default(),
            first_seq: 0,
            count: 0,
            bytes: buffer,
        }
    }

    /// Records in the batch so far.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a record; its `seq` must follow that of the one before.
    pub fn push(&mut self, record: &Record) {
        if self.count == 0 {
            self.first_seq = record.seq;
        }
        debug_assert_eq!(
            record.seq,
            self.first_seq + u64::from(self.count),
            "consecutive records"
        );
        self.count += 1;
        match &record.event {
            Event::Market(update) => self.market(record.at, update),
            Event::Pulse => {
                self.bytes.push(PULSE);
                self.at(record.at);
            }
            event => {
                self.bytes.push(OTHER);
                self.at(record.at);
                self.postcard(event);
            }
        }
    }

    /// First seq, count and bytes of the batch.
    #[must_use]
    pub fn finish(self) -> (u64, u32, Vec<u8>) {
        (self.first_seq, self.count, self.bytes)
    }

    fn at(&mut self, at: Time) {
        self.signed(at.0.wrapping_sub(self.context.at).cast_signed());
        self.context.at = at.0;
    }

    fn market(&mut self, at: Time, update: &Update) {
        let tag = match update.body {
            Body::Depth(_) => DEPTH,
            Body::Touch(_) => TOUCH,
            Body::Trade(_) => TRADE,
            Body::Funding(_) | Body::Gap(_) | Body::Candle(_) => OTHER_MARKET,
        };
        self.bytes.push(if update.late { tag | LATE } else { tag });
        self.at(at);
        self.unsigned(u64::from(update.instrument.0));
        self.signed(
            update
                .received
                .0
                .wrapping_sub(self.context.received)
                .cast_signed(),
        );
        self.context.received = update.received.0;
        let last = self
            .context
            .last(update.instrument)
            .map_or_else(|_| Last::default(), |l| *l);
        self.signed(
            update
                .venue_time
                .0
                .wrapping_sub(last.venue_time)
                .cast_signed(),
        );
        let mut next = Last {
            venue_time: update.venue_time.0,
            ..last
        };
        match &update.body {
            Body::Depth(depth) => self.depth(depth, &mut next),
            Body::Touch(touch) => {
                self.id(touch.id, &mut next.id);
                self.level(touch.bid, &mut next.price);
                self.level(touch.ask, &mut next.price);
            }
            Body::Trade(trade) => {
                self.id(trade.id, &mut next.trade);
                self.bytes.push(u8::from(trade.aggressor == Side::Sell));
                self.level(
                    Level {
                        price: trade.price,
                        qty: trade.qty,
                    },
                    &mut next.price,
                );
            }
            body => self.postcard(body),
        }
        if let Ok(last) = self.context.last(update.instrument) {
            *last = next;
        }
    }

    fn depth(&mut self, depth: &Depth, next: &mut Last) {
        let (snapshot, truncated, limit) = match depth.kind {
            DepthKind::Snapshot { truncated, limit } => (true, truncated, limit),
            DepthKind::Delta => (false, false, 0),
        };
        let flags = [
            depth.first,
            depth.last,
            snapshot,
            truncated,
            depth.checksum.is_some(),
        ];
        self.bytes.push(
            flags
                .iter()
                .rev()
                .fold(0, |bits, flag| bits << 1 | u8::from(*flag)),
        );
        if snapshot {
            self.unsigned(u64::from(limit));
        }
        self.id(depth.id, &mut next.id);
        self.bytes.push(depth.bids);
        self.unsigned(depth.levels.len() as u64);
        for level in &depth.levels {
            self.level(*level, &mut next.price);
        }
        if let Some(checksum) = depth.checksum {
            self.bytes.extend_from_slice(&checksum.crc.to_le_bytes());
            self.bytes
                .extend([checksum.price_digits, checksum.qty_digits]);
        }
    }

    fn id(&mut self, id: u64, last: &mut u64) {
        self.signed(id.wrapping_sub(*last).cast_signed());
        *last = id;
    }

    fn level(&mut self, level: Level, last: &mut i64) {
        self.signed(level.price.0.wrapping_sub(*last));
        *last = level.price.0;
        self.signed(level.qty.0);
    }

    fn postcard(&mut self, value: &impl serde::Serialize) {
        let bytes = postcard::to_allocvec(value).unwrap_or_default();
        self.unsigned(bytes.len() as u64);
        self.bytes.extend_from_slice(&bytes);
    }

    fn signed(&mut self, value: i64) {
        self.unsigned((value << 1 ^ value >> 63).cast_unsigned());
    }

    fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
        self.bytes.push(value as u8);
    }
}

/// Reads the records of one batch.
#[derive(Debug)]
pub struct Decoder<'a> {
    context: Context,
    seq: u64,
    left: u32,
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Over the bytes of a batch of `count` records that begins with `first_seq`.
    #[must_use]
    pub fn new(first_seq: u64, count: u32, bytes: &'a [u8]) -> Self {
        Self {
            context: Context::default(),
            seq: first_seq,
            left: count,
            bytes,
        }
    }

    fn record(&mut self) -> Result<Record, DecodeError> {
        let tag = self.byte()?;
        let at = self.context.at.wrapping_add(self.signed()?.cast_unsigned());
        self.context.at = at;
        let event = match tag & !LATE {
            PULSE => Event::Pulse,
            OTHER => self.postcard()?,
            kind => Event::Market(self.market(kind, tag & LATE != 0)?),
        };
        let record = Record {
            seq: self.seq,
            at: Time(at),
            event,
        };
        self.seq = self.seq.wrapping_add(1);
        Ok(record)
    }

    fn market(&mut self, kind: u8, late: bool) -> Result<Update, DecodeError> {
        let instrument = u16::try_from(self.unsigned()?).map_err(|_| DecodeError::Invalid)?;
        let instrument = InstrumentId(instrument);
        let received = self
            .context
            .received
            .wrapping_add(self.signed()?.cast_unsigned());
        self.context.received = received;
        let mut next = *self.context.last(instrument)?;
        next.venue_time = next.venue_time.wrapping_add(self.signed()?.cast_unsigned());
        let venue_time = Time(next.venue_time);
        let body = match kind {
            DEPTH => Body::Depth(self.depth(&mut next)?),
            TOUCH => {
                let id = self.id(&mut next.id)?;
                let bid = self.level(&mut next.price)?;
                Body::Touch(Touch {
                    id,
                    bid,
                    ask: self.level(&mut next.price)?,
                })
            }
            TRADE => {
                let id = self.id(&mut next.trade)?;
                let aggressor = if self.byte()? == 0 {
                    Side::Buy
                } else {
                    Side::Sell
                };
                let Level { price, qty } = self.level(&mut next.price)?;
                Body::Trade(Trade {
                    id,
                    price,
                    qty,
                    aggressor,
                })
            }
            OTHER_MARKET => self.postcard()?,
            _ => return Err(DecodeError::Invalid),
        };
        *self.context.last(instrument)? = next;
        Ok(Update {
            instrument,
            venue_time,
            received: Time(received),
            late,
            body,
        })
    }

    fn depth(&mut self, next: &mut Last) -> Result<Depth, DecodeError> {
        let flags = self.byte()?;
        let flag = |place: u8| flags >> place & 1 == 1;
        let kind = if flag(2) {
            let limit = u16::try_from(self.unsigned()?).map_err(|_| DecodeError::Invalid)?;
            DepthKind::Snapshot {
                truncated: flag(3),
                limit,
            }
        } else {
            DepthKind::Delta
        };
        let id = self.id(&mut next.id)?;
        let bids = self.byte()?;
        let count = self.unsigned()?;
        if count > LEVELS_PER_PART as u64 || u64::from(bids) > count {
            return Err(DecodeError::Invalid);
        }
        let mut levels = heapless::Vec::new();
        for _ in 0..count {
            levels
                .push(self.level(&mut next.price)?)
                .map_err(|_| DecodeError::Invalid)?;
        }
        let checksum = if flag(4) {
            let crc = self.take(4)?.try_into().map_err(|_| DecodeError::Short)?;
            let (price_digits, qty_digits) = (self.byte()?, self.byte()?);
            Some(Checksum {
                crc: u32::from_le_bytes(crc),
                price_digits,
                qty_digits,
            })
        } else {
            None
        };
        Ok(Depth {
            kind,
            first: flag(0),
            last: flag(1),
            id,
            bids,
            levels,
            checksum,
        })
    }

    fn id(&mut self, last: &mut u64) -> Result<u64, DecodeError> {
        *last = last.wrapping_add(self.signed()?.cast_unsigned());
        Ok(*last)
    }

    fn level(&mut self, last: &mut i64) -> Result<Level, DecodeError> {
        *last = last.wrapping_add(self.signed()?);
        Ok(Level {
            price: Price(*last),
            qty: Qty(self.signed()?),
        })
    }

    fn postcard<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        let length = usize::try_from(self.unsigned()?).map_err(|_| DecodeError::Short)?;
        postcard::from_bytes(self.take(length)?).map_err(|_| DecodeError::Invalid)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(DecodeError::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.unsigned()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    fn unsigned(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid)
    }
}

impl Iterator for Decoder<'_> {
    type Item = Result<Record, DecodeError>;

    /// The next record; after an error there is no more.
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = self.record();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Candle, Funding, Gap, GapReason, Operator};
    use crate::features::bars::Timeframe;
    use crate::risk::state::{Cause, Scope};

    fn level() -> impl Strategy<Value = Level> {
        (any::<i64>(), any::<i64>()).prop_map(|(p, q)| Level {
            price: Price(p),
            qty: Qty(q),
        })
    }

    fn side() -> impl Strategy<Value = Side> {
        any::<bool>().prop_map(|buy| if buy { Side::Buy } else { Side::Sell })
    }

    fn depth() -> impl Strategy<Value = Depth> {
        let kind = prop_oneof![
            Just(DepthKind::Delta),
            (any::<bool>(), any::<u16>())
                .prop_map(|(truncated, limit)| DepthKind::Snapshot { truncated, limit }),
        ];
        let checksum =
            proptest::option::of((any::<u32>(), 0_u8..18, 0_u8..18)).prop_map(|checksum| {
                checksum.map(|(crc, price_digits, qty_digits)| Checksum {
                    crc,
                    price_digits,
                    qty_digits,
                })
            });
        let levels = proptest::collection::vec(level(), 0..=LEVELS_PER_PART);
        (kind, any::<(bool, bool, u64, u8)>(), levels, checksum).prop_map(
            |(kind, (first, last, id, bids), levels, checksum)| Depth {
                kind,
                first,
                last,
                id,
                bids: bids.min(u8::try_from(levels.len()).expect("few")),
                levels: levels.into_iter().collect(),
                checksum,
            },
        )
    }

    fn event() -> impl Strategy<Value = Event> {
        let body = prop_oneof![
            depth().prop_map(Body::Depth),
            (any::<u64>(), level(), level()).prop_map(|(id, bid, ask)| Body::Touch(Touch {
                id,
                bid,
                ask
            })),
            (any::<u64>(), level(), side()).prop_map(|(id, level, aggressor)| {
                Body::Trade(Trade {
                    id,
                    price: level.price,
                    qty: level.qty,
                    aggressor,
                })
            }),
            Just(Body::Gap(Gap::of(GapReason::Checksum))),
            (any::<(i64, u64, bool)>(), level()).prop_map(|((open, start, first), close)| {
                Body::Candle(Candle {
                    timeframe: Timeframe::Hour4,
                    first,
                    start: Time(start),
                    open: Price(open),
                    high: Price(open.max(close.price.0)),
                    low: Price(open.min(close.price.0)),
                    close: close.price,
                    vwap: close.price,
                    volume: close.qty,
                    bought: Qty(close.qty.0 / 2),
                })
            }),
            any::<i64>().prop_map(|rate| Body::Funding(Funding {
                mark: Price(1),
                index: Price(2),
                rate: Some(rate),
                predicted: None,
                settles: Time(3),
                interval_s: 4,
            })),
        ];
        let market = (0_u16..64, any::<(u64, u64, bool)>(), body).prop_map(
            |(instrument, (venue_time, received, late), body)| {
                Event::Market(Update {
                    instrument: InstrumentId(instrument),
                    venue_time: Time(venue_time),
                    received: Time(received),
                    late,
                    body,
                })
            },
        );
        prop_oneof![
            8 => market,
            1 => Just(Event::Pulse),
            1 => Just(Event::Operator(Operator::Halt {
                scope: Scope::Portfolio,
                cause: Cause::Command,
            })),
            1 => Just(Event::Start),
        ]
    }

    proptest! {
        #[test]
        fn round_trips(events in proptest::collection::vec((event(), any::<u64>()), 0..40), first in 1_u64..1_000_000) {
            let records: Vec<Record> = (first..)
                .zip(events)
                .map(|(seq, (event, at))| Record { seq, at: Time(at), event })
                .collect();
            let mut encoder = Encoder::new(Vec::new());
            records.iter().for_each(|record| encoder.push(record));
            let (first, count, bytes) = encoder.finish();
            let decoded: Result<Vec<_>, _> = Decoder::new(first, count, &bytes).collect();
            prop_assert_eq!(decoded, Ok(records));
        }

        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for record in Decoder::new(1, 1_000, &bytes) {
                if record.is_err() { break; }
            }
        }
    }
}
