//! Faults between an honest server and the wire.
//!
//! A fault is injected on command ([`crate::VenueServer::inject`]) or by a [`FaultSchedule`].
//! Faults of a frame wait until a frame comes that suits them, then strike once. What struck is
//! logged. The true book never changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::venues::{Books, ConnId, HttpReply, Listing, Outgoing, ServerFrame, Tag};
use crate::world::{Rng, SECOND, Side, VenueKind, default_instruments};

/// Faults that may wait for their frame at one server.
pub const MAX_ARMED: usize = 64;
/// Entries kept in the log of one server; counts go on.
pub const MAX_LOG: usize = 10_000;
/// Longest duration of a timed fault, nanoseconds.
pub const MAX_DURATION: u64 = 300 * SECOND;
/// Size of the oversize frame: over the 8 MiB that a client may expect at most.
pub const OVERSIZE_BYTES: usize = 8 * 1024 * 1024 + 4096;

/// Something that goes wrong. Symbols are the venue's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A change of the book is lost.
    SequenceGap {
        /// Whose book.
        symbol: String,
    },
    /// A digit of the checksum is wrong (Kraken).
    BadChecksum {
        /// Whose book.
        symbol: String,
    },
    /// A digit of a quantity is wrong (Kraken, the only one where that can be noticed).
    FlippedDigit {
        /// Whose book.
        symbol: String,
    },
    /// A bid above the best ask appears in a change.
    CrossedBook {
        /// Whose book.
        symbol: String,
    },
    /// A change of the book is sent twice.
    Duplicate {
        /// Whose book.
        symbol: String,
    },
    /// Two changes of the book swap places.
    Reorder {
        /// Whose book.
        symbol: String,
    },
    /// No book data for a while, heartbeats and trades go on; afterwards all is told.
    Stall {
        /// Whose book.
        symbol: String,
        /// How long, nanoseconds.
        for_ns: u64,
    },
    /// All present connections go silent for good, and none is closed.
    HalfOpen,
    /// A frame that is not JSON.
    Garbage,
    /// A change of the book is cut in half.
    TruncatedJson {
        /// Whose book.
        symbol: String,
    },
    /// A frame of more than 8 MiB.
    Oversize,
    /// HTTP replies take so much longer for a while.
    SlowRest {
        /// Extra delay of each reply, nanoseconds.
        delay_ns: u64,
        /// How long, nanoseconds.
        for_ns: u64,
    },
    /// HTTP requests are answered 429 for a while.
    RateLimit {
        /// `Retry-After`, seconds.
        retry_after: u32,
        /// How long, nanoseconds.
        for_ns: u64,
    },
    /// All connections drop, and for a while each new one does too.
    DisconnectStorm {
        /// How long, nanoseconds.
        for_ns: u64,
    },
}

/// The kinds of [`Fault`], for counting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs, reason = "each is the Fault of the same name")]
pub enum FaultKind {
    SequenceGap,
    BadChecksum,
    FlippedDigit,
    CrossedBook,
    Duplicate,
    Reorder,
    Stall,
    HalfOpen,
    Garbage,
    TruncatedJson,
    Oversize,
    SlowRest,
    RateLimit,
    DisconnectStorm,
}

impl FaultKind {
    /// A name for logs and JSON.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::SequenceGap => "sequence_gap",
            FaultKind::BadChecksum => "bad_checksum",
            FaultKind::FlippedDigit => "flipped_digit",
            FaultKind::CrossedBook => "crossed_book",
            FaultKind::Duplicate => "duplicate",
            FaultKind::Reorder => "reorder",
            FaultKind::Stall => "stall",
            FaultKind::HalfOpen => "half_open",
            FaultKind::Garbage => "garbage",
            FaultKind::TruncatedJson => "truncated_json",
            FaultKind::Oversize => "oversize",
            FaultKind::SlowRest => "slow_rest",
            FaultKind::RateLimit => "rate_limit",
            FaultKind::DisconnectStorm => "disconnect_storm",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Fault {
    /// Which kind this is.
    pub fn kind(&self) -> FaultKind {
        match self {
            Fault::SequenceGap { .. } => FaultKind::SequenceGap,
            Fault::BadChecksum { .. } => FaultKind::BadChecksum,
            Fault::FlippedDigit { .. } => FaultKind::FlippedDigit,
            Fault::CrossedBook { .. } => FaultKind::CrossedBook,
            Fault::Duplicate { .. } => FaultKind::Duplicate,
            Fault::Reorder { .. } => FaultKind::Reorder,
            Fault::Stall { .. } => FaultKind::Stall,
            Fault::HalfOpen => FaultKind::HalfOpen,
            Fault::Garbage => FaultKind::Garbage,
            Fault::TruncatedJson { .. } => FaultKind::TruncatedJson,
            Fault::Oversize => FaultKind::Oversize,
            Fault::SlowRest { .. } => FaultKind::SlowRest,
            Fault::RateLimit { .. } => FaultKind::RateLimit,
            Fault::DisconnectStorm { .. } => FaultKind::DisconnectStorm,
        }
    }

    /// The symbol whose book it hurts.
    pub fn symbol(&self) -> Option<&str> {
        match self {
            Fault::SequenceGap { symbol }
            | Fault::BadChecksum { symbol }
            | Fault::FlippedDigit { symbol }
            | Fault::CrossedBook { symbol }
            | Fault::Duplicate { symbol }
            | Fault::Reorder { symbol }
            | Fault::Stall { symbol, .. }
            | Fault::TruncatedJson { symbol } => Some(symbol),
            _ => None,
        }
    }

    /// Whether the venue's protocol lets a client notice it.
    pub fn applies_to(&self, venue: VenueKind) -> bool {
        match self {
            Fault::BadChecksum { .. } | Fault::FlippedDigit { .. } => venue == VenueKind::Kraken,
            // Books on these two come over the socket, so REST trouble would hurt nobody.
            Fault::SlowRest { .. } | Fault::RateLimit { .. } => {
                matches!(venue, VenueKind::Binance | VenueKind::Kucoin)
            }
            _ => true,
        }
    }
}

/// A fault that struck.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Injected {
    /// When, nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// Where.
    pub venue: VenueKind,
    /// What.
    pub fault: Fault,
}

/// When which fault is to be injected.
#[derive(Clone, Debug)]
pub enum FaultSchedule {
    /// These, at nanoseconds after the start, in order of time.
    List(VecDeque<(u64, VenueKind, Fault)>),
    /// One every few seconds, of any kind, anywhere, for ever.
    Demo {
        /// Decides which and when.
        rng: Rng,
        /// Nanoseconds after the start.
        next_ns: u64,
    },
}

impl FaultSchedule {
    /// No faults.
    pub fn none() -> FaultSchedule {
        FaultSchedule::List(VecDeque::new())
    }

    /// These faults, at nanoseconds after the start.
    pub fn list(mut faults: Vec<(u64, VenueKind, Fault)>) -> FaultSchedule {
        faults.sort_by_key(|(at, _, _)| *at);
        FaultSchedule::List(faults.into())
    }

    /// A lively mixture for a demonstration: the first fault after 8 s, then one each 1 to 6 s.
    pub fn demo(seed: u64) -> FaultSchedule {
        FaultSchedule::Demo {
            rng: Rng::labelled(seed, "faults"),
            next_ns: 8 * SECOND,
        }
    }

    /// The next fault that is due `elapsed_ns` after the start.
    pub fn poll(&mut self, elapsed_ns: u64) -> Option<(VenueKind, Fault)> {
        match self {
            FaultSchedule::List(faults) => {
                if faults.front().is_none_or(|(at, _, _)| *at > elapsed_ns) {
                    return None;
                }
                faults.pop_front().map(|(_, venue, fault)| (venue, fault))
            }
            FaultSchedule::Demo { rng, next_ns } => {
                if *next_ns > elapsed_ns {
                    return None;
                }
                *next_ns += SECOND + rng.below(5 * SECOND);
                Some(demo_fault(rng))
            }
        }
    }
}

/// Draws a fault that applies to its venue; gentle ones are likelier than rough ones.
fn demo_fault(rng: &mut Rng) -> (VenueKind, Fault) {
    let venue = VenueKind::ALL[rng.below(4) as usize];
    let instruments = default_instruments(venue);
    let symbol = instruments[rng.below(4) as usize].symbol.to_string();
    let kraken = venue == VenueKind::Kraken;
    let rest = matches!(venue, VenueKind::Binance | VenueKind::Kucoin);
    let fault = match rng.below(100) {
        0..24 => Fault::SequenceGap { symbol },
        24..36 if kraken => Fault::BadChecksum { symbol },
        36..48 if kraken => Fault::FlippedDigit { symbol },
        24..38 => Fault::CrossedBook { symbol },
        38..52 => Fault::Duplicate { symbol },
        52..64 => Fault::Reorder { symbol },
        64..72 => Fault::Stall {
            symbol,
            for_ns: 8 * SECOND,
        },
        72..78 => Fault::Garbage,
        78..85 => Fault::TruncatedJson { symbol },
        85..90 if rest => Fault::SlowRest {
            delay_ns: 3 * SECOND,
            for_ns: 10 * SECOND,
        },
        90..94 if rest => Fault::RateLimit {
            retry_after: 5,
            for_ns: 5 * SECOND,
        },
        94..96 => Fault::Oversize,
        96..98 => Fault::HalfOpen,
        98..100 => Fault::DisconnectStorm { for_ns: 4 * SECOND },
        _ => Fault::SequenceGap { symbol },
    };
    (venue, fault)
}

/// A frame that waits for its successor to overtake it.
#[derive(Debug)]
struct Held {
    conn: ConnId,
    listing: usize,
    frame: ServerFrame,
}

/// The faults of one server.
#[derive(Debug)]
pub(crate) struct FaultLayer {
    venue: VenueKind,
    rng: Rng,
    armed: Vec<(Fault, Option<usize>)>,
    held: Option<Held>,
    frozen: BTreeSet<ConnId>,
    storm_until: u64,
    slow: (u64, u64),
    limited: (u32, u64),
    log: Vec<Injected>,
    counts: BTreeMap<FaultKind, u64>,
}

impl FaultLayer {
    pub(crate) fn new(venue: VenueKind, seed: u64) -> FaultLayer {
        FaultLayer {
            venue,
            rng: Rng::labelled(seed, venue.name()),
            armed: Vec::new(),
            held: None,
            frozen: BTreeSet::new(),
            storm_until: 0,
            slow: (0, 0),
            limited: (0, 0),
            log: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn log(&self) -> &[Injected] {
        &self.log
    }

    pub(crate) fn counts(&self) -> &BTreeMap<FaultKind, u64> {
        &self.counts
    }

    pub(crate) fn record(&mut self, fault: &Fault, now: u64) {
        *self.counts.entry(fault.kind()).or_default() += 1;
        if self.log.len() < MAX_LOG {
            self.log.push(Injected {
                at_ns: now,
                venue: self.venue,
                fault: fault.clone(),
            });
        }
    }

    /// Starts a timed fault, or lets a fault of a frame wait for its frame.
    pub(crate) fn arm(&mut self, fault: &Fault, listing: Option<usize>, now: u64) -> bool {
        let until = |for_ns: u64| now + for_ns.min(MAX_DURATION);
        match fault {
            Fault::SlowRest { delay_ns, for_ns } => {
                self.slow = ((*delay_ns).min(MAX_DURATION), until(*for_ns));
            }
            Fault::RateLimit {
                retry_after,
                for_ns,
            } => {
                self.limited = (*retry_after, until(*for_ns));
            }
            Fault::DisconnectStorm { for_ns } => self.storm_until = until(*for_ns),
            _ if self.armed.len() >= MAX_ARMED => return false,
            _ => {
                self.armed.push((fault.clone(), listing));
                return true;
            }
        }
        self.record(fault, now);
        true
    }

    pub(crate) fn disarm(&mut self, wire: &mut VecDeque<(ConnId, ServerFrame)>) {
        self.armed.clear();
        self.storm_until = 0;
        self.slow = (0, 0);
        self.limited = (0, 0);
        if let Some(held) = self.held.take() {
            wire.push_back((held.conn, held.frame));
        }
    }

    pub(crate) fn storming(&self, now: u64) -> bool {
        now < self.storm_until
    }

    pub(crate) fn http_refusal(&self, now: u64) -> Option<HttpReply> {
        let (retry_after, until) = self.limited;
        (now < until).then(|| HttpReply {
            status: 429,
            retry_after: Some(retry_after),
            body: match self.venue {
                VenueKind::Binance => r#"{"code":-1003,"msg":"Too many requests."}"#,
                VenueKind::Kucoin => r#"{"code":"429000","msg":"Too Many Requests"}"#,
                _ => r#"{"error":"rate limit exceeded"}"#,
            }
            .to_string(),
            delay_ns: 0,
        })
    }

    pub(crate) fn http_delay(&self, now: u64) -> u64 {
        let (delay, until) = self.slow;
        if now < until { delay } else { 0 }
    }

    /// Makes a connection half-open; false when it was.
    pub(crate) fn freeze(&mut self, conn: ConnId) -> bool {
        self.frozen.insert(conn)
    }

    pub(crate) fn is_frozen(&self, conn: ConnId) -> bool {
        self.frozen.contains(&conn)
    }

    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.frozen.remove(&conn);
        if self.held.as_ref().is_some_and(|h| h.conn == conn) {
            self.held = None;
        }
    }

    /// Takes the first waiting fault that this frame suits.
    fn strike(&mut self, tag: Tag) -> Option<Fault> {
        let suits = |(fault, listing): &(Fault, Option<usize>)| match fault {
            Fault::Garbage | Fault::Oversize => true,
            _ => {
                let Tag::Book { listing: of, near } = tag else {
                    return false;
                };
                // A swapped pair must be complete before the next one starts.
                let free = self.held.is_none() || !matches!(fault, Fault::Reorder { .. });
                *listing == Some(of) && near && free
            }
        };
        let index = self.armed.iter().position(suits)?;
        Some(self.armed.remove(index).0)
    }

    /// Passes one frame to the wire, hurt or not.
    pub(crate) fn pass(
        &mut self,
        outgoing: Outgoing,
        books: &Books,
        now: u64,
        wire: &mut VecDeque<(ConnId, ServerFrame)>,
    ) {
        let Outgoing { conn, frame, tag } = outgoing;
        if self.frozen.contains(&conn) {
            return;
        }
        // A held frame follows the next frame of the same book on the same connection.
        let overtakes = self.held.as_ref().is_some_and(|h| {
            h.conn == conn && matches!(tag, Tag::Book { listing, .. } if listing == h.listing)
        });
        if overtakes {
            wire.push_back((conn, frame));
            if let Some(held) = self.held.take() {
                wire.push_back((held.conn, held.frame));
            }
            return;
        }
        if matches!(frame, ServerFrame::Close { .. } | ServerFrame::Ping(_)) {
            wire.push_back((conn, frame));
            return;
        }
        let Some(fault) = self.strike(tag) else {
            wire.push_back((conn, frame));
            return;
        };
        let listing = match tag {
            Tag::Book { listing, .. } => Some(listing),
            _ => None,
        };
        let hurt = match (&fault, listing) {
            (Fault::SequenceGap { .. }, _) => true,
            (Fault::Duplicate { .. }, _) => {
                wire.push_back((conn, frame.clone()));
                wire.push_back((conn, frame.clone()));
                true
            }
            (Fault::Reorder { .. }, Some(listing)) => {
                self.held = Some(Held {
                    conn,
                    listing,
                    frame: frame.clone(),
                });
                true
            }
            (Fault::Garbage, _) => {
                wire.push_back((conn, frame.clone()));
                let noise: String = (0..48)
                    .map(|_| char::from(33 + self.rng.below(90) as u8))
                    .collect();
                wire.push_back((conn, ServerFrame::Text(format!("<<{noise}"))));
                true
            }
            (Fault::Oversize, _) => {
                wire.push_back((conn, frame.clone()));
                let text = format!(r#"{{"pad":"{}"}}"#, "x".repeat(OVERSIZE_BYTES));
                wire.push_back((conn, ServerFrame::Text(text)));
                true
            }
            (_, Some(listing)) => {
                let book = &books.listings[listing];
                let edit = |text: &str| match &fault {
                    Fault::TruncatedJson { .. } => Some(text[..text.len() / 2].to_string()),
                    Fault::BadChecksum { .. } => damage_checksum(text),
                    Fault::FlippedDigit { .. } => flip_quantity(text),
                    Fault::CrossedBook { .. } => add_crossing_bid(self.venue, book, text),
                    _ => None,
                };
                match edited(&frame, edit) {
                    Some(damaged) => {
                        wire.push_back((conn, damaged));
                        true
                    }
                    None => false,
                }
            }
            _ => false,
        };
        if hurt {
            self.record(&fault, now);
        } else {
            // Nothing in this frame could be hurt that way: wait for the next.
            wire.push_back((conn, frame));
            self.armed.push((fault, listing));
        }
    }
}

/// Edits the text of a text or binary frame.
fn edited(frame: &ServerFrame, edit: impl Fn(&str) -> Option<String>) -> Option<ServerFrame> {
    match frame {
        ServerFrame::Text(text) => edit(text).map(ServerFrame::Text),
        ServerFrame::Binary(bytes) => {
            let text = std::str::from_utf8(bytes).ok()?;
            edit(text).map(|t| ServerFrame::Binary(t.into_bytes()))
        }
        _ => None,
    }
}

/// Replaces the last digit of the checksum.
fn damage_checksum(text: &str) -> Option<String> {
    let start = text.find(r#""checksum":"#)? + r#""checksum":"#.len();
    let len = text[start..].find(|c: char| !c.is_ascii_digit())?;
    flip_at(text, start + len.checked_sub(1)?)
}

/// Replaces the first non-zero digit of the first quantity that has one.
fn flip_quantity(text: &str) -> Option<String> {
    let key = r#""qty":"#;
    for (found, _) in text.match_indices(key) {
        let start = found + key.len();
        let end = start + text[start..].find(['}', ','])?;
        if let Some(at) = text[start..end].find(|c: char| matches!(c, '1'..='9')) {
            return flip_at(text, start + at);
        }
    }
    None
}

/// Another digit in place of the one at `at`, never a zero.
fn flip_at(text: &str, at: usize) -> Option<String> {
    let digit = text.as_bytes().get(at)?.checked_sub(b'0')?;
    let flipped = char::from(b'1' + digit % 9);
    Some(format!("{}{flipped}{}", &text[..at], &text[at + 1..]))
}

/// Adds a bid a little above the best ask to a change of the book.
fn add_crossing_bid(venue: VenueKind, book: &Listing, text: &str) -> Option<String> {
    let (ask, size) = book.best(Side::Sell)?;
    let (bid, _) = book.best(Side::Buy)?;
    let (price, qty) = (ask + (ask - bid).max(1), size.max(1));
    let decimals = (book.instrument.price_decimals, book.instrument.qty_decimals);
    let exact = |units, decimals| crate::venues::fixed(units, decimals);
    let short = |units, decimals| crate::venues::trimmed(units, decimals);
    let (marker, row) = match venue {
        VenueKind::Binance => {
            let wide = |units: i64, d: u32| exact(units * 10i64.pow(8 - d), 8);
            (
                r#""b":["#,
                format!(
                    r#"["{}","{}"]"#,
                    wide(price, decimals.0),
                    wide(qty, decimals.1)
                ),
            )
        }
        VenueKind::Coinbase => (
            r#""updates":["#,
            format!(
                r#"{{"side":"bid","event_time":"{}","price_level":"{}","new_quantity":"{}"}}"#,
                crate::venues::rfc3339(book.time_ns, 6, false),
                short(price, decimals.0),
                short(qty, decimals.1)
            ),
        ),
        VenueKind::Kraken => (
            r#""bids":["#,
            format!(
                r#"{{"price":{},"qty":{}}}"#,
                exact(price, decimals.0),
                exact(qty, decimals.1)
            ),
        ),
        VenueKind::Kucoin if text.contains(r#""T":"obu"#) => (
            r#""b":["#,
            format!(
                r#"["{}","{}"]"#,
                short(price, decimals.0),
                short(qty, decimals.1)
            ),
        ),
        VenueKind::Kucoin => {
            // The row needs a sequence of this message, or the client may skip it.
            let key = r#""sequenceEnd":"#;
            let start = text.find(key)? + key.len();
            let len = text[start..].find(|c: char| !c.is_ascii_digit())?;
            let sequence = &text[start..start + len];
            let (price, qty) = (short(price, decimals.0), short(qty, decimals.1));
            (
                r#""bids":["#,
                format!(r#"["{price}","{qty}","{sequence}"]"#),
            )
        }
    };
    let at = text.find(marker)? + marker.len();
    let comma = if text[at..].starts_with(']') { "" } else { "," };
    Some(format!("{}{row}{comma}{}", &text[..at], &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_flip_to_other_digits() {
        let text = r#"{"qty":0.00000000},{"qty":0.05000000}],"checksum":1290,"x":1"#;
        let flipped = flip_quantity(text).unwrap();
        assert!(
            flipped.contains(r#"{"qty":0.00000000},{"qty":0.06000000}"#),
            "{flipped}"
        );
        assert!(
            damage_checksum(text)
                .unwrap()
                .contains(r#""checksum":1291,"#)
        );
        assert_eq!(flip_at("9", 0).unwrap(), "1");
        assert_eq!(flip_quantity(r#"{"qty":0.000}"#), None);
    }

    #[test]
    fn schedules_are_seeded_and_ordered() {
        let demo = |seed| {
            let mut schedule = FaultSchedule::demo(seed);
            let mut got = Vec::new();
            for second in 0..600 {
                while let Some(fault) = schedule.poll(second * SECOND) {
                    got.push(fault);
                }
            }
            got
        };
        let faults = demo(1);
        assert_eq!(faults, demo(1));
        assert_ne!(faults, demo(2));
        assert!(faults.len() > 100 && faults.iter().all(|(v, f)| f.applies_to(*v)));
        let kinds: BTreeSet<FaultKind> = (0..8)
            .flat_map(demo)
            .map(|(_, fault)| fault.kind())
            .collect();
        assert_eq!(kinds.len(), 14, "the demonstration shows every kind");

        let mut list = FaultSchedule::list(vec![
            (2 * SECOND, VenueKind::Kraken, Fault::Garbage),
            (SECOND, VenueKind::Binance, Fault::HalfOpen),
        ]);
        assert_eq!(list.poll(0), None);
        assert_eq!(
            list.poll(5 * SECOND),
            Some((VenueKind::Binance, Fault::HalfOpen))
        );
        assert_eq!(
            list.poll(5 * SECOND),
            Some((VenueKind::Kraken, Fault::Garbage))
        );
        assert_eq!(list.poll(5 * SECOND), None);
        assert_eq!(FaultSchedule::none().poll(u64::MAX), None);
    }
}
