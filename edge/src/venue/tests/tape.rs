//! Recorded frames driven through a dialect into books, as a session and an engine would.

use std::path::PathBuf;

use serde_json::Value;
use tickerml_shared::book::{Book, State};
use tickerml_shared::event::{Body, Depth, Funding, Gap, GapReason, Side, Trade, Update};
use tickerml_shared::instrument::{Instrument, Venue};
use tickerml_shared::num::parse;
use tickerml_shared::time::Time;

use crate::venue::Cue;
use crate::venue::reader::{Reader, Unreadable, WireLevel};

/// The recorded data, or `None` (said once per test) where there is none.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find the recorded data through the environment"
)]
pub(in crate::venue) fn recorded(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TICKERML_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    let full = root.join(path);
    if full.exists() {
        return Some(full);
    }
    println!("SKIP {path}: no recorded data at {}", root.display());
    None
}

/// The text of a file, unpacked where its name ends in `.zst`.
pub(in crate::venue) fn text(path: &PathBuf) -> String {
    let bytes = std::fs::read(path).expect("a readable file");
    let bytes = if path.extension().is_some_and(|extension| extension == "zst") {
        zstd::decode_all(bytes.as_slice()).expect("zstd")
    } else {
        bytes
    };
    String::from_utf8(bytes).expect("UTF-8")
}

/// The frames of a capture, without the receive stamps.
pub(in crate::venue) fn frames(path: &PathBuf) -> Vec<String> {
    text(path)
        .lines()
        .map(|line| match line.split_once(' ') {
            Some((stamp, frame)) if stamp.bytes().all(|b| b.is_ascii_digit()) => frame.to_owned(),
            _ => line.to_owned(),
        })
        .collect()
}

/// The files of a folder, in order of their names.
pub(in crate::venue) fn folder(path: &str) -> Vec<PathBuf> {
    let Some(folder) = recorded(path) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a readable folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

/// A line of a file of message vectors.
pub(in crate::venue) struct Vector {
    /// Its test.
    pub(in crate::venue) name: String,
    /// The frame.
    pub(in crate::venue) message: String,
    /// Everything that the line says.
    pub(in crate::venue) line: Value,
}

/// The vectors of a file; the raw text of `message` is kept, as numbers are.
pub(in crate::venue) fn vectors(path: &str) -> Vec<Vector> {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        message: &'a serde_json::value::RawValue,
    }
    let Some(file) = recorded(path) else {
        return Vec::new();
    };
    text(&file)
        .lines()
        .filter(|line| !line.is_empty())
        .map(|text| {
            let line: Value = serde_json::from_str(text).expect("JSON");
            let raw: Line<'_> = serde_json::from_str(text).expect("a message");
            let message = match &line["message"] {
                Value::String(message) => message.clone(),
                _ => raw.message.get().to_owned(),
            };
            let name = line["test"].as_str().expect("a name").to_owned();
            Vector {
                name,
                message,
                line,
            }
        })
        .collect()
}

/// Everything that came of a run of frames.
pub(in crate::venue) struct Tape {
    pub(in crate::venue) reader: Reader,
    pub(in crate::venue) books: Vec<Book>,
    pub(in crate::venue) gaps: Vec<(usize, Gap)>,
    pub(in crate::venue) trades: Vec<(Time, Trade)>,
    pub(in crate::venue) funding: Vec<(Time, Funding)>,
    /// Depth parts, with the venue's time.
    pub(in crate::venue) depth: Vec<(Time, Depth)>,
    pub(in crate::venue) cues: Vec<Cue>,
    /// Why frames could not be read.
    pub(in crate::venue) unreadable: Vec<String>,
}

impl Tape {
    pub(in crate::venue) fn new(mut reader: Reader) -> Self {
        reader.discover();
        Self {
            reader,
            books: Vec::new(),
            gaps: Vec::new(),
            trades: Vec::new(),
            funding: Vec::new(),
            depth: Vec::new(),
            cues: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Plays frames.
    pub(in crate::venue) fn play<'a>(
        &mut self,
        frames: impl IntoIterator<Item = &'a str>,
        mut read: impl FnMut(&str, &mut Reader) -> Result<Cue, Unreadable>,
    ) {
        for (at, frame) in (1..).zip(frames) {
            self.reader.received(Time(at));
            match read(frame, &mut self.reader) {
                Ok(Cue::None) => {}
                Ok(cue) => self.cues.push(cue),
                Err(error) => {
                    self.unreadable.push(error.cause);
                    self.reader.unreadable(frame);
                }
            }
            while let Some(update) = self.reader.poll() {
                self.apply(update, Time(at));
            }
        }
    }

    fn apply(&mut self, update: Update, at: Time) {
        let place = update.instrument.index();
        if self.books.len() <= place {
            self.books.resize(place + 1, Book::new());
        }
        let instrument: &Instrument = &self.reader.listings()[place].instrument;
        let book = &mut self.books[place];
        match update.body {
            Body::Depth(depth) => {
                if let Some(gap) = book.depth(&depth, instrument, at) {
                    self.gaps.push((place, gap));
                    self.reader.await_snapshot(place);
                }
                self.depth.push((update.venue_time, depth));
            }
            Body::Gap(gap) => {
                book.invalidate(gap, at);
                self.gaps.push((place, gap));
            }
            Body::Trade(trade) => self.trades.push((update.venue_time, trade)),
            Body::Funding(funding) => self.funding.push((update.venue_time, funding)),
            Body::Touch(_) | Body::Candle(_) => unreachable!("no such stream here"),
        }
        let book = &self.books[place];
        if let (Some(bid), Some(ask)) = (book.best(Side::Buy), book.best(Side::Sell)) {
            assert!(bid.price < ask.price, "never crossed: {bid:?} {ask:?}");
        }
    }

    /// The reasons of the gaps so far.
    pub(in crate::venue) fn reasons(&self) -> Vec<GapReason> {
        self.gaps.iter().map(|(_, gap)| gap.reason).collect()
    }

    /// Whether every book is live.
    pub(in crate::venue) fn all_live(&self) -> bool {
        !self.books.is_empty() && self.books.iter().all(Book::is_live)
    }

    /// Why the only book is stale.
    pub(in crate::venue) fn stale(&self) -> Option<GapReason> {
        match self.books.first().expect("a book").state() {
            State::Live { .. } => None,
            State::Stale { reason, .. } => {
                assert_eq!(
                    self.books[0].best(Side::Buy),
                    None,
                    "a stale book is silent"
                );
                Some(reason)
            }
        }
    }

    /// The levels of the depth parts so far, as one message: bids and asks as exact numbers in the
    /// scales of an undescribed instrument.
    pub(in crate::venue) fn levels(&self) -> [Vec<(i64, i64)>; 2] {
        let side = |side: fn(&Depth) -> &[tickerml_shared::event::Level]| {
            self.depth
                .iter()
                .flat_map(|(_, depth)| side(depth))
                .map(|level| (level.price.0, level.qty.0))
                .collect()
        };
        [side(Depth::bids), side(Depth::asks)]
    }
}

/// A number of a vector at a scale.
pub(in crate::venue) fn exact(value: &Value, scale: u8) -> i64 {
    parse(&value.to_string(), scale).expect("a number")
}

/// `[bids, asks]` of an expected book change, in the scales of an undescribed instrument.
pub(in crate::venue) fn expected_levels(venue: Venue, change: &Value) -> [Vec<(i64, i64)>; 2] {
    ["bids", "asks"].map(|side| {
        change[side]
            .as_array()
            .expect("levels")
            .iter()
            .map(|level| {
                (
                    exact(&level["price"], venue.default_scales().0),
                    exact(&level["amount"], 8),
                )
            })
            .collect()
    })
}

/// Compares a trade with an expected one of the tardis vectors.
pub(in crate::venue) fn assert_trade(
    venue: Venue,
    vector: &Vector,
    want: &Value,
    got: &(Time, Trade),
) {
    let (time, trade) = got;
    let name = &vector.name;
    assert_eq!(
        trade.price.0,
        exact(&want["price"], venue.default_scales().0),
        "{name}: price"
    );
    assert_eq!(trade.qty.0, exact(&want["amount"], 8), "{name}: quantity");
    assert_eq!(
        Some(trade.aggressor.name()),
        want["side"].as_str(),
        "{name}: side"
    );
    // The vectors' times end at microseconds.
    let stated = Time::from_rfc3339(want["timestamp"].as_str().expect("a time"));
    assert_eq!(
        stated.map(|stated| stated.0),
        Some(time.0 / 1000 * 1000),
        "{name}: time"
    );
}

/// A frame with one digit changed: the last one before `end` that follows `start`.
pub(in crate::venue) fn flip(frame: &str, start: &str) -> String {
    let at = frame.find(start).expect("the place to damage") + start.len();
    let digit = frame[at..]
        .find(|c: char| c.is_ascii_digit() && c != '0')
        .expect("a digit")
        + at;
    let other = if &frame[digit..=digit] == "1" {
        "2"
    } else {
        "1"
    };
    format!("{}{other}{}", &frame[..digit], &frame[digit + 1..])
}

/// The first half of a frame.
pub(in crate::venue) fn cut(frame: &str) -> &str {
    &frame[..frame.len() / 2]
}

/// What a vector of the crypto-msg-parser set says, after its assertions.
pub(in crate::venue) enum Want {
    /// Price, quantity, taker's side, milliseconds.
    Trade(&'static str, &'static str, Side, u64),
    /// Bids and asks (price, quantity), milliseconds; 0 for none.
    Levels(
        &'static [WireLevel<'static>],
        &'static [WireLevel<'static>],
        u64,
    ),
    /// Mark price, milliseconds.
    Mark(&'static str, u64),
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// A vector's name, a frame to play before it, and what must come of it.
pub(in crate::venue) type Expected = (&'static str, &'static str, Want);

/// Checks every vector of a file against its row of a table that has no other rows.
pub(in crate::venue) fn check_vectors(
    path: &str,
    table: &[Expected],
    reader: impl Fn(&Vector) -> Reader,
    mut read: impl FnMut(&str, &mut Reader) -> Result<Cue, Unreadable>,
) {
    let vectors = vectors(path);
    if vectors.is_empty() {
        return;
    }
    assert_eq!(
        vectors.len(),
        table.len(),
        "{path}: one row for each vector"
    );
    for vector in &vectors {
        let name = vector.name.as_str();
        let (_, primer, want) = table
            .iter()
            .find(|(row, ..)| *row == name)
            .unwrap_or_else(|| panic!("{path}: no row for {name}"));
        let reader = reader(vector);
        let scale = reader.venue().default_scales().0;
        let mut tape = Tape::new(reader);
        tape.play(Some(*primer).filter(|frame| !frame.is_empty()), &mut read);
        tape.depth.clear();
        tape.play([vector.message.as_str()], &mut read);
        let millis = |time: Time| time.0 / 1_000_000;
        match want {
            Want::Trade(price, qty, side, ms) => {
                let [(time, trade)] = tape.trades.as_slice() else {
                    panic!("{name}: {:?}", tape.trades);
                };
                assert_eq!(Ok(trade.price.0), parse(price, scale), "{name}");
                assert_eq!(Ok(trade.qty.0), parse(qty, 8), "{name}");
                assert_eq!((trade.aggressor, millis(*time)), (*side, *ms), "{name}");
            }
            Want::Levels(bids, asks, ms) => {
                let want = [bids, asks].map(|side| {
                    side.iter()
                        .map(|(price, qty)| {
                            let price = parse(price, scale).expect("a price");
                            (price, parse(qty, 8).expect("a quantity"))
                        })
                        .collect::<Vec<_>>()
                });
                assert_eq!(tape.levels(), want, "{name}");
                let time = tape.depth.last().map(|(time, _)| millis(*time));
                assert_eq!(time, Some(*ms), "{name}");
            }
            Want::Mark(mark, ms) => {
                let [(time, funding)] = tape.funding.as_slice() else {
                    panic!("{name}: {:?}", tape.funding);
                };
                assert_eq!(Ok(funding.mark.0), parse(mark, scale), "{name}");
                assert_eq!(millis(*time), *ms, "{name}");
            }
            Want::Nothing(reason) => {
                assert!(!reason.is_empty());
                assert!(tape.depth.is_empty(), "{name}: {:?}", tape.depth);
                assert!(tape.trades.is_empty(), "{name}: {:?}", tape.trades);
                assert!(tape.funding.is_empty(), "{name}: {:?}", tape.funding);
                assert!(tape.gaps.is_empty(), "{name}: {:?}", tape.gaps);
            }
        }
    }
}
