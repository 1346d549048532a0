//! How well each feature foretold the next return, on a tape of the past.
//!
//! A [`Sampler`] looks at the engine on a regular grid of event time and keeps what a policy would
//! have known there, with the mid returns that followed; [`report`] makes ranks, correlations and a
//! table of them. A sample at an instant holds nothing that was recorded at it or later. No sample is
//! taken while a book is not live, and no return is measured across a gap. Nothing here is part of
//! trading: the engine is only looked at.

pub mod chart;
pub mod report;
pub mod statistics;

use std::collections::VecDeque;
use std::fmt;

use tickerml_shared::engine::Engine;
use tickerml_shared::instrument::{Instrument, InstrumentId};
use tickerml_shared::time::{MILLIS, SECONDS, Time};

/// The returns that features are compared with: so many seconds ahead.
pub const HORIZONS_S: [u64; 3] = [1, 10, 60];
/// Samples that are kept: a day of one instrument, one a second. When there are more, every other
/// one is dropped and from then on half as many are taken.
pub const SAMPLES_MAX: usize = 100_000;
/// The shortest distance between samples that may be asked for, in milliseconds.
pub const EVERY_MS_MIN: u64 = 50;
/// The longest.
pub const EVERY_MS_MAX: u64 = 3_600_000;
/// After so long without any record the tape has a hole, and whatever lies across it is left out.
pub const HOLE_NS: u64 = 60 * SECONDS;

/// What is sampled, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    every_ns: u64,
    /// Places of the table, in the order of the columns.
    places: Vec<usize>,
    /// Names of instruments: a symbol, or venue:symbol. All of them when empty.
    instruments: Vec<String>,
    samples_max: usize,
}

/// Why terms make no sense: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermsError(String);

impl fmt::Display for TermsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TermsError {}

impl Terms {
    /// These places of the table, every so many milliseconds of event time.
    ///
    /// # Errors
    /// When `every_ms` does not divide a second and is not a multiple of one: samples could not be
    /// paired with returns.
    pub fn new(
        every_ms: u64,
        places: Vec<usize>,
        instruments: Vec<String>,
    ) -> Result<Self, TermsError> {
        let even = (1..=1_000).contains(&every_ms) && 1_000 % every_ms == 0;
        let whole = every_ms > 1_000 && every_ms.is_multiple_of(1_000);
        if !(even || whole) || !(EVERY_MS_MIN..=EVERY_MS_MAX).contains(&every_ms) {
            return Err(TermsError(format!(
                "{every_ms} ms: write {EVERY_MS_MIN} to {EVERY_MS_MAX}, a divisor of 1000 or a multiple of it"
            )));
        }
        Ok(Self {
            every_ns: every_ms * MILLIS,
            places,
            instruments,
            samples_max: SAMPLES_MAX,
        })
    }

    /// Keeps at most so many samples (two at least) instead of [`SAMPLES_MAX`].
    #[must_use]
    pub fn at_most(self, samples_max: usize) -> Self {
        Self {
            samples_max: samples_max.max(2),
            ..self
        }
    }
}

/// What was known of an instrument at an instant, and what came after.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Time,
    /// Whose: a place in [`Samples::instruments`].
    pub instrument: usize,
    /// Samples of one instrument with the same number have no gap between them.
    pub run: u32,
    /// The mid, in halves of the instrument's price unit.
    pub mid: f64,
    /// Mid returns over [`HORIZONS_S`] as fractions; NaN where a gap or the tape's end lies before.
    pub returns: [f64; HORIZONS_S.len()],
    /// The features, column by column; NaN where they are not known.
    pub values: Box<[f32]>,
}

/// The samples of a tape.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Between two samples of an instrument, in nanoseconds.
    pub every_ns: u64,
    /// The columns' places in the table.
    pub places: Vec<usize>,
    /// The names of the instruments.
    pub instruments: Vec<String>,
    /// Instant after instant for each instrument, one instrument after the other.
    pub rows: Vec<Sample>,
    /// Instants at which an instrument's book was not live.
    pub masked: u64,
    /// Names that were asked for and that no instrument has.
    pub unknown: Vec<String>,
    /// The names of all instruments of the tape.
    pub listed: Vec<String>,
}

/// What is remembered of an instrument while it is sampled.
#[derive(Clone, Debug)]
struct Market {
    id: InstrumentId,
    run: u32,
    /// Gaps that its book has counted.
    gaps: u64,
    /// Samples that still wait for a return, oldest first.
    waiting: VecDeque<usize>,
}

/// Looks at an engine on a grid of event time. Call [`Sampler::before`] before every record.
#[derive(Clone, Debug)]
pub struct Sampler {
    terms: Terms,
    /// Returns are looked up on this grid.
    step_ns: u64,
    every_ns: u64,
    markets: Option<Vec<Market>>,
    names: Vec<String>,
    unknown: Vec<String>,
    listed: Vec<String>,
    next: Time,
    heard: Time,
    rows: Vec<Sample>,
    masked: u64,
}

impl Sampler {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self {
            step_ns: terms.every_ns.min(SECONDS),
            every_ns: terms.every_ns,
            terms,
            markets: None,
            names: Vec::new(),
            unknown: Vec::new(),
            listed: Vec::new(),
            next: Time::UNKNOWN,
            heard: Time::UNKNOWN,
            rows: Vec::new(),
            masked: 0,
        }
    }

    /// A record of this time comes next: takes the samples of the instants up to it.
    pub fn before(&mut self, engine: &Engine, at: Time) {
        if self.markets.is_none() {
            self.begin(engine);
        }
        let silence = at.since(self.heard);
        if !self.heard.is_known() || silence < 0 || silence.unsigned_abs() > HOLE_NS {
            self.interrupt();
            self.next = Time(at.0.div_ceil(self.step_ns) * self.step_ns);
        }
        while self.next <= at {
            self.look(engine, self.next);
            self.next = self.next.plus(self.step_ns);
        }
        self.heard = at;
    }

    fn begin(&mut self, engine: &Engine) {
        let mut wanted: Vec<(String, bool)> = self
            .terms
            .instruments
            .iter()
            .map(|name| (name.clone(), false))
            .collect();
        let mut markets = Vec::new();
        for (id, instrument) in (0_u16..).zip(&engine.setup().instruments) {
            let name = name_of(instrument);
            self.listed.push(name.clone());
            let mut included = wanted.is_empty();
            for (asked, found) in &mut wanted {
                if *asked == name || *asked == instrument.symbol.as_str() {
                    *found = true;
                    included = true;
                }
            }
            if included {
                self.names.push(name);
                markets.push(Market {
                    id: InstrumentId(id),
                    run: 0,
                    gaps: 0,
                    waiting: VecDeque::new(),
                });
            }
        }
        let missing = wanted.into_iter().filter(|(_, found)| !found);
        self.unknown = missing.map(|(name, _)| name).collect();
        self.markets = Some(markets);
    }

    /// Nothing that follows belongs to what came before.
    fn interrupt(&mut self) {
        for market in self.markets.iter_mut().flatten() {
            market.run += 1;
            market.waiting.clear();
        }
    }

    fn look(&mut self, engine: &Engine, at: Time) {
        let mut markets = self.markets.take().unwrap_or_default();
        for (place, market) in markets.iter_mut().enumerate() {
            let book = &engine.cells()[market.id.index()].book;
            let gaps = book.counters().gaps.iter().sum();
            if gaps != market.gaps || !(book.is_live() || book.is_partial()) {
                market.gaps = gaps;
                market.run += 1;
                market.waiting.clear();
            }
            let sampled = at.0.is_multiple_of(self.every_ns);
            let Some(mid) = book.double_mid().map(|double| double as f64) else {
                self.masked += u64::from(sampled);
                continue;
            };
            self.answer(market, at, mid);
            if !sampled {
                continue;
            }
            let Some(table) = engine.table_at(market.id, at) else {
                self.masked += 1;
                continue;
            };
            let columns = self.terms.places.iter();
            market.waiting.push_back(self.rows.len());
            self.rows.push(Sample {
                at,
                instrument: place,
                run: market.run,
                mid,
                returns: [f64::NAN; HORIZONS_S.len()],
                values: columns.map(|place| table.as_slice()[*place]).collect(),
            });
        }
        self.markets = Some(markets);
        if self.rows.len() >= self.terms.samples_max {
            self.thin();
        }
    }

    /// The mid at `at` is what earlier samples wait for.
    fn answer(&mut self, market: &mut Market, at: Time, mid: f64) {
        for (slot, seconds) in HORIZONS_S.into_iter().enumerate() {
            let since = at.minus(seconds * SECONDS);
            let found = market
                .waiting
                .binary_search_by_key(&since, |row| self.rows[*row].at);
            if let Ok(found) = found {
                let row = &mut self.rows[market.waiting[found]];
                row.returns[slot] = mid / row.mid - 1.0;
            }
        }
        let longest = at.minus(HORIZONS_S[HORIZONS_S.len() - 1] * SECONDS);
        while let Some(row) = market.waiting.front()
            && self.rows[*row].at <= longest
        {
            market.waiting.pop_front();
        }
    }

    /// Keeps every other instant, so that the memory is bounded whatever the tape's length.
    fn thin(&mut self) {
        while self.rows.len() >= self.terms.samples_max && self.every_ns < u64::MAX / 2 {
            self.every_ns *= 2;
            let every = self.every_ns;
            let mut kept = 0;
            let mut moved = vec![None; self.rows.len()];
            for (row, place) in self.rows.iter().zip(&mut moved) {
                if row.at.0.is_multiple_of(every) {
                    *place = Some(kept);
                    kept += 1;
                }
            }
            self.rows.retain(|row| row.at.0.is_multiple_of(every));
            for market in self.markets.iter_mut().flatten() {
                market.waiting = market
                    .waiting
                    .iter()
                    .filter_map(|row| moved[*row])
                    .collect();
            }
        }
    }

    /// The samples taken.
    #[must_use]
    pub fn finish(mut self) -> Samples {
        self.rows.sort_by_key(|row| row.instrument);
        Samples {
            every_ns: self.every_ns,
            places: self.terms.places,
            instruments: self.names,
            rows: self.rows,
            masked: self.masked,
            unknown: self.unknown,
            listed: self.listed,
        }
    }
}

fn name_of(instrument: &Instrument) -> String {
    format!("{}:{}", instrument.venue, instrument.symbol)
}

#[cfg(test)]
mod tests;
