//! HftBacktest's events: a structured NumPy array.
//!
//! Format: NumPy "NEP 1 / numpy.lib.format" versions 1 to 3. Event type: HftBacktest "Data": `ev` (`u8`), `exch_ts`,
//! `local_ts` (`i8`), `px`, `qty` (`f8`), `order_id` (`u8`), `ival` (`i8`), `fval` (`f8`), 64 bytes each.

use std::io::{self, Read};

use super::files::Stream;
use super::format::NPY;

/// Bytes of an event.
const EVENT_BYTES: usize = 64;
/// Longest header that is read.
const MAX_HEADER_BYTES: usize = 1 << 16;
/// The fields in their order, as a header lists them.
const FIELDS: [(&str, &str); 8] = [
    ("ev", "<u8"),
    ("exch_ts", "<i8"),
    ("local_ts", "<i8"),
    ("px", "<f8"),
    ("qty", "<f8"),
    ("order_id", "<u8"),
    ("ival", "<i8"),
    ("fval", "<f8"),
];

/// The kind is the low byte of `ev`.
pub(super) const DEPTH: u64 = 1;
/// A trade.
pub(super) const TRADE: u64 = 2;
/// The book is cleared, of one side up to a price or altogether.
pub(super) const CLEAR: u64 = 3;
/// A level of a snapshot.
pub(super) const SNAPSHOT: u64 = 4;
/// The best bid or ask.
pub(super) const BBO: u64 = 5;
/// It is seen locally, at `local_ts`.
pub(super) const LOCAL: u64 = 1 << 30;
/// The bid side; a buyer's trade.
pub(super) const BUY: u64 = 1 << 29;
/// The ask side; a seller's trade.
pub(super) const SELL: u64 = 1 << 28;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) ev: u64,
    pub(super) exch_ts: i64,
    pub(super) local_ts: i64,
    pub(super) px: f64,
    pub(super) qty: f64,
}

/// The events of an array, one after the other.
pub(super) struct Events {
    stream: Stream,
    left: u64,
}

impl Events {
    /// Reads the header.
    pub(super) fn new(mut stream: Stream) -> io::Result<Self> {
        let mut preamble = [0; 8];
        stream.read_exact(&mut preamble)?;
        let strange =
            |what: &str| io::Error::other(format!("is no array of HftBacktest events: {what}"));
        if !preamble.starts_with(NPY) {
            return Err(strange("it does not begin as a NumPy array does"));
        }
        let length = if preamble[6] == 1 {
            let mut bytes = [0; 2];
            stream.read_exact(&mut bytes)?;
            usize::from(u16::from_le_bytes(bytes))
        } else {
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes)?;
            u32::from_le_bytes(bytes) as usize
        };
        if length > MAX_HEADER_BYTES {
            return Err(strange("its header is too long"));
        }
        let mut header = vec![0; length];
        stream.read_exact(&mut header)?;
        let header = String::from_utf8_lossy(&header);
        let flat: String = header
            .chars()
            .filter(|letter| !letter.is_whitespace())
            .collect();
        let mut rest = flat.as_str();
        for (name, kind) in FIELDS {
            let field = format!("('{name}','{kind}')");
            match rest.find(&field) {
                Some(place) => rest = &rest[place + field.len()..],
                None => {
                    return Err(strange(&format!(
                        "the field {name} of type {kind} is missing or out of place"
                    )));
                }
            }
        }
        let shape = flat
            .split_once("'shape':(")
            .and_then(|(_, rest)| rest.split_once([',', ')']))
            .and_then(|(count, _)| count.parse().ok());
        let left = shape.ok_or_else(|| strange("its shape is not that of a list"))?;
        Ok(Self { stream, left })
    }

    /// The next event.
    pub(super) fn next(&mut self) -> io::Result<Option<Event>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut bytes = [0; EVENT_BYTES];
        self.stream.read_exact(&mut bytes)?;
        self.left -= 1;
        let word = |place: usize| -> [u8; 8] {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[place * 8..place * 8 + 8]);
            word
        };
        Ok(Some(Event {
            ev: u64::from_le_bytes(word(0)),
            exch_ts: i64::from_le_bytes(word(1)),
            local_ts: i64::from_le_bytes(word(2)),
            px: f64::from_le_bytes(word(3)),
            qty: f64::from_le_bytes(word(4)),
        }))
    }
}
