//! Dialects against recorded connections and other projects' vectors.
//!
//! The recordings are large and live outside the repository, in the folder that `TICKERML_DATA`
//! names. Where it is missing these tests say so and pass; the rules themselves are tested on
//! inline frames in [`rules`] and [`life`].

mod captures;
mod life;
mod rules;
pub(super) mod tape;
mod vectors;

use std::io::Read;
use std::path::PathBuf;

use tickerml_shared::book::{Book, Counters};
use tickerml_shared::event::{Body, Funding, GapReason, Level, Side, Trade, Update};
use tickerml_shared::instrument::{Instrument, Venue};
use tickerml_shared::time::Time;

use super::session::Session;
use tape::recorded;

/// The lines of a file, unpacked by its ending.
pub(crate) fn lines(path: &PathBuf) -> Vec<String> {
    let file = std::fs::File::open(path).expect("readable");
    let mut text = String::new();
    let read = match path.extension().and_then(|ending| ending.to_str()) {
        Some("zst") => zstd::Decoder::new(file)
            .expect("zstd")
            .read_to_string(&mut text),
        Some("gz") => flate2::read::GzDecoder::new(file).read_to_string(&mut text),
        _ => std::io::BufReader::new(file).read_to_string(&mut text),
    };
    read.expect("text");
    text.lines().map(str::to_owned).collect()
}

/// One instrument of a replayed capture.
pub(crate) struct Replayed {
    /// Its book.
    pub(crate) book: Book,
    /// Its trades.
    pub(crate) trades: Vec<(Time, Trade)>,
    /// Its funding frames.
    pub(crate) fundings: Vec<(Time, Funding)>,
}

/// A capture session with books behind it, as the engine has them.
pub(crate) struct Replay {
    pub(crate) session: Session,
    pub(crate) instruments: Vec<Replayed>,
    stamp: u64,
}

impl Replay {
    pub(crate) fn new(venue: Venue) -> Self {
        Self {
            session: Session::capture(venue),
            instruments: Vec::new(),
            stamp: 0,
        }
    }

    /// Hands in one line: a frame, perhaps led by a receive stamp.
    pub(crate) fn line(&mut self, line: &str) {
        let (stamp, frame) = match line.split_once(' ') {
            Some((stamp, frame)) if stamp.bytes().all(|b| b.is_ascii_digit()) => {
                (stamp.parse().expect("a stamp"), frame)
            }
            _ => (self.stamp + 1, line),
        };
        self.stamp = stamp;
        let now = Time(stamp);
        self.session.handle_frame(now, frame);
        while let Some(update) = self.session.poll_update() {
            self.apply(now, &update);
        }
    }

    fn apply(&mut self, now: Time, update: &Update) {
        let index = update.instrument.index();
        while self.instruments.len() <= index {
            self.instruments.push(Replayed {
                book: Book::new(),
                trades: Vec::new(),
                fundings: Vec::new(),
            });
        }
        let instrument = &self.session.reader().listings()[index].instrument;
        let replayed = &mut self.instruments[index];
        let gap = match &update.body {
            Body::Depth(depth) => replayed.book.depth(depth, instrument, now),
            Body::Touch(touch) => replayed.book.touch(touch, now),
            Body::Gap(gap) => {
                replayed.book.invalidate(*gap, now);
                None
            }
            Body::Trade(trade) => {
                replayed.trades.push((update.venue_time, *trade));
                None
            }
            Body::Funding(funding) => {
                replayed.fundings.push((update.venue_time, *funding));
                None
            }
            Body::Candle(_) => unreachable!("nobody asked for history"),
        };
        if gap.is_some() {
            self.session.resync(now, update.instrument);
        }
    }

    pub(crate) fn lines<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) -> &mut Self {
        for line in lines {
            self.line(line);
        }
        self
    }

    fn index(&self, symbol: &str) -> usize {
        let listings = self.session.reader().listings();
        listings
            .iter()
            .position(|listing| listing.instrument.symbol == symbol)
            .unwrap_or_else(|| panic!("{symbol} was not seen"))
    }

    pub(crate) fn instrument(&self, symbol: &str) -> &Instrument {
        &self.session.reader().listings()[self.index(symbol)].instrument
    }

    pub(crate) fn of(&self, symbol: &str) -> &Replayed {
        &self.instruments[self.index(symbol)]
    }

    pub(crate) fn counters(&self, symbol: &str) -> &Counters {
        self.of(symbol).book.counters()
    }

    /// Gaps of one reason.
    pub(crate) fn gaps(&self, symbol: &str, reason: GapReason) -> u64 {
        self.counters(symbol).gaps[reason as usize]
    }

    pub(crate) fn all_gaps(&self, symbol: &str) -> u64 {
        self.counters(symbol).gaps.iter().sum()
    }

    /// A level as text.
    pub(crate) fn text(&self, symbol: &str, level: Level) -> (String, String) {
        let instrument = self.instrument(symbol);
        (
            instrument.price_text(level.price).to_string(),
            instrument.qty_text(level.qty).to_string(),
        )
    }

    /// The best prices as text.
    pub(crate) fn best(&self, symbol: &str) -> Option<(String, String)> {
        let book = &self.of(symbol).book;
        let text = |side| {
            book.best(side)
                .map(|level| self.text(symbol, level).0)
                .unwrap_or_default()
        };
        book.is_live().then(|| (text(Side::Buy), text(Side::Sell)))
    }
}

/// Replays a capture; `None` when it is not here.
pub(crate) fn check_capture(venue: Venue, path: &str) -> Option<Replay> {
    let path = recorded(path)?;
    let mut replay = Replay::new(venue);
    for line in lines(&path) {
        replay.line(&line);
    }
    assert_eq!(
        replay.session.poll_transmit(),
        None,
        "a capture sends nothing"
    );
    Some(replay)
}
