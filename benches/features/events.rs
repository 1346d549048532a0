//! One market event into the features of its instrument, and the whole table read after it, over tapes.

use std::hint::black_box;

use tickerml_benches::tape::{self, RECORDINGS, Tape};
use tickerml_edge::venue::session::Session;
use tickerml_shared::book::Book;
use tickerml_shared::event::{Body, Funding, Update};
use tickerml_shared::features::{Features, TABLE_LEN, View};
use tickerml_shared::instrument::Instrument;
use tickerml_shared::time::Time;
use tickerml_sim::VenueKind;

use crate::meter::Meter;
use crate::{PASSES, Row};

/// Seconds of simulated market: measured, and in a test run.
const SIMULATED_S: (u64, u64) = (120, 3);

/// What is measured of a tape, in the order of the rows.
const WAYS: [&str; 2] = ["update", "update and read"];

/// Everything that a tape says, in order.
struct Prepared {
    name: String,
    instruments: Vec<Instrument>,
    updates: Vec<(Time, Update)>,
}

impl Prepared {
    fn new(tape: &Tape) -> Self {
        let mut session = Session::capture(tape.venue);
        let mut updates = Vec::new();
        for (now, text) in &tape.frames {
            session.handle_frame(*now, text);
            updates
                .extend(std::iter::from_fn(|| session.poll_update()).map(|update| (*now, update)));
        }
        let listings = session.reader().listings();
        Self {
            name: tape.name.clone(),
            instruments: listings
                .iter()
                .map(|listing| listing.instrument.clone())
                .collect(),
            updates,
        }
    }
}

/// An instrument as the engine holds it.
struct Market {
    book: Book,
    features: Box<Features>,
    funding: Option<Funding>,
}

impl Market {
    fn new() -> Self {
        Self {
            book: Book::new(),
            features: Features::boxed(),
            funding: None,
        }
    }

    /// The book comes before the features, and is not measured.
    fn book(&mut self, update: &Update, instrument: &Instrument, now: Time) {
        match &update.body {
            Body::Depth(depth) => drop(self.book.depth(depth, instrument, now)),
            Body::Touch(touch) => drop(self.book.touch(touch, now)),
            Body::Gap(gap) => self.book.invalidate(*gap, now),
            Body::Funding(funding) => self.funding = Some(*funding),
            Body::Trade(_) => {}
        }
    }

    /// The table; no other venue is at hand.
    fn read(&self, update: &Update, instrument: &Instrument, now: Time) -> usize {
        let Some(top) = self.features.top() else {
            return 0;
        };
        let table = self.features.read(&View {
            top,
            instrument,
            cross: None,
            funding: self.funding.as_ref(),
            received: update.received,
            lag_ns: 0,
            at: now,
        });
        black_box(&table).known()
    }
}

pub(crate) fn rows(quick: bool) -> Vec<Row> {
    let mut tapes = Vec::new();
    for recording in if quick { &[][..] } else { &RECORDINGS[..] } {
        match tape::recorded(recording) {
            Some(tape) => tapes.push(tape),
            None => println!(
                "SKIP {}: no recording at hand (set TICKERML_DATA)",
                recording.0
            ),
        }
    }
    let seconds = if quick { SIMULATED_S.1 } else { SIMULATED_S.0 };
    tapes.push(tape::simulated(VenueKind::Binance, seconds));
    let mut rows = Vec::new();
    for tape in &tapes {
        let prepared = Prepared::new(tape);
        let mut meters: [Meter; WAYS.len()] = Default::default();
        let mut known = 0;
        for _ in 0..if quick { 1 } else { PASSES } {
            for (meter, reads) in meters.iter_mut().zip([false, true]) {
                known = pass(&prepared, meter, reads);
            }
        }
        println!(
            "{}: {} events of {} instruments; {known} of {TABLE_LEN} features were known at once",
            prepared.name,
            prepared.updates.len(),
            prepared.instruments.len(),
        );
        for (meter, way) in meters.iter().zip(WAYS) {
            assert_eq!(
                meter.heap_calls(),
                0,
                "{}, {way}: heap calls",
                prepared.name
            );
            rows.push(Row::of("events", &prepared.name, way, TABLE_LEN, meter));
        }
    }
    rows
}

/// One pass over a tape; the most features that were known after an event.
fn pass(prepared: &Prepared, meter: &mut Meter, reads: bool) -> usize {
    let mut markets: Vec<_> = prepared.instruments.iter().map(|_| Market::new()).collect();
    let (warm, mut most) = (prepared.updates.len() / 3, 0);
    meter.begin(prepared.updates.len());
    for (place, (now, update)) in prepared.updates.iter().enumerate() {
        let instrument = &prepared.instruments[update.instrument.index()];
        let market = &mut markets[update.instrument.index()];
        market.book(update, instrument, *now);
        let known = meter.time(place >= warm, || {
            market
                .features
                .update(update, &market.book, instrument, *now);
            if reads {
                market.read(update, instrument, *now)
            } else {
                0
            }
        });
        most = most.max(known);
    }
    meter.end();
    most
}
