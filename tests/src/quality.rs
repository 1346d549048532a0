//! What is found in recorded data: next to nothing in what venues sent, and every defect that is put
//! into a copy of it.

use std::path::{Path, PathBuf};

use tickerml_shared::engine::{Engine, Output, Setup};
use tickerml_shared::event::{Body, Event, Record, Update};
use tickerml_shared::instrument::{InstrumentId, Venue};
use tickerml_shared::quality::{Kind, Quality, Report, TARGET_PPM};
use tickerml_shared::synchroniser::{HOLD_NS, Synchroniser};
use tickerml_shared::time::{SECONDS, Time};

use crate::tapes::{RECORDINGS, Tape, data, read, recorded};

/// Time between pulses.
const PULSE_NS: u64 = SECONDS;

/// A fold of a tape as the desk does it: updates through the synchroniser, pulses on the second.
struct Fold {
    engine: Engine,
    synchroniser: Synchroniser,
    seq: u64,
    next_pulse: Time,
    reports: Vec<Report>,
}

impl Fold {
    fn handle(&mut self, at: Time, event: Event) {
        self.seq += 1;
        let seq = self.seq;
        self.engine.handle(&Record { seq, at, event });
        while let Some(output) = self.engine.poll() {
            if let Output::Quality(report) = output {
                self.reports.push(report);
            }
        }
    }

    fn release(&mut self, now: Time) {
        while let Some(update) = self.synchroniser.poll(now) {
            self.handle(now, Event::Market(update));
        }
    }

    fn advance(&mut self, now: Time) {
        while self.next_pulse <= now {
            let pulse = self.next_pulse;
            self.release(pulse);
            self.handle(pulse, Event::Pulse);
            self.next_pulse = pulse.plus(PULSE_NS);
        }
        self.release(now);
    }
}

fn fold(tape: &Tape) -> Fold {
    let first = tape.updates.first().expect("a tape that holds something").0;
    let mut fold = Fold {
        engine: Engine::new(Setup::market_only(tape.instruments.clone())),
        synchroniser: Synchroniser::new(HOLD_NS),
        seq: 0,
        next_pulse: Time(first.0 - first.0 % PULSE_NS + PULSE_NS),
        reports: Vec::new(),
    };
    for (at, update) in &tape.updates {
        fold.advance(*at);
        fold.synchroniser.push(update.clone(), *at);
        fold.release(*at);
    }
    fold
}

fn count(quality: &Quality, kind: Kind) -> u64 {
    let monitors = quality.monitors().iter();
    monitors.map(|monitor| monitor.finding(kind).count).sum()
}

/// The recordings of a venue, each one tape.
fn tapes_of(venue: Venue) -> Vec<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(data().join("captures").join(venue.name())) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end != "md"))
        .map(|path| vec![path])
        .collect();
    paths.sort();
    paths
}

/// Prints what was found in a tape, and gives its score.
fn judge(venue: Venue, paths: &[PathBuf]) {
    let files: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let Some(tape) = read(venue, &files, usize::MAX) else {
        println!("SKIP {}: no recorded data", paths[0].display());
        return;
    };
    let folded = fold(&tape);
    let quality = folded.engine.quality();
    for (monitor, instrument) in quality.monitors().iter().zip(&tape.instruments) {
        let found = monitor.findings().filter(|(_, finding)| finding.count > 0);
        let found: Vec<_> = found
            .map(|(kind, finding)| format!("{} {} ({})", kind.name(), finding.count, finding.value))
            .collect();
        let tally = monitor.rolling();
        println!(
            "{venue} {}: {} events, {} flawed, score {:?}, {} late; {}",
            instrument.symbol,
            tally.events,
            tally.flawed,
            tally.score_ppm(),
            monitor.today().late,
            found.join(", "),
        );
    }
    let score = quality.venue_score_ppm(venue).expect("events");
    assert!(score >= TARGET_PPM, "{}: {score}", tape.name);
}

#[test]
fn what_venues_sent_is_clean() {
    let raw = |name: &str| data().join("hftbacktest-binance-raw").join(name);
    let spot = [
        "spot_btcusdt_20240808.jsonl.gz",
        "spot_btcusdt_20240809.jsonl.gz",
    ];
    judge(Venue::Binance, &spot.map(raw));
    judge(Venue::BinanceUsdm, &[raw("usdm_btcusdt_20240808.jsonl.gz")]);
    judge(Venue::Kraken, &[data().join(RECORDINGS[2].1)]);
    judge(
        Venue::CoinbaseAdvanced,
        &[data().join("coinbase-advanced-l2/coinbase_l2.jsonl")],
    );
    for venue in Venue::ALL {
        for paths in tapes_of(venue) {
            judge(venue, &paths);
        }
    }
}

/// The places of the trades of a tape.
fn trades(tape: &Tape) -> Vec<usize> {
    let updates = tape.updates.iter().enumerate();
    updates
        .filter(|(_, (_, update))| matches!(update.body, Body::Trade(_)))
        .map(|(place, _)| place)
        .collect()
}

fn change_trade(update: &mut Update, change: impl Fn(&mut tickerml_shared::event::Trade)) {
    match &mut update.body {
        Body::Trade(trade) => change(trade),
        _ => unreachable!("a trade"),
    }
}

/// Puts a defect of a kind into a tape.
fn damage(tape: &mut Tape, kind: Kind) {
    let trades = trades(tape);
    let victim = trades[trades.len() / 2];
    match kind {
        Kind::DuplicateTrade => {
            let twin = tape.updates[victim].clone();
            tape.updates.insert(victim + 1, twin);
        }
        Kind::PriceOutlier => {
            change_trade(&mut tape.updates[victim].1, |trade| {
                trade.id += 1 << 40;
                trade.price.0 *= 10;
            });
        }
        Kind::VolumeSpike => {
            change_trade(&mut tape.updates[victim].1, |trade| trade.qty.0 = 1 << 55);
        }
        Kind::OutOfOrder => {
            // What was held back longer than the synchroniser waits.
            let (at, update) = tape.updates.remove(victim);
            let after = tape.updates.iter().position(|(later, update)| {
                *later > at.plus(2 * HOLD_NS) && matches!(update.body, Body::Trade(_))
            });
            let place = after.expect("a later trade") + 1;
            let later = tape.updates[place - 1].0.plus(2 * HOLD_NS);
            let place = tape.updates.partition_point(|(at, _)| *at < later);
            tape.updates.insert(
                place,
                (
                    later,
                    Update {
                        received: later,
                        ..update
                    },
                ),
            );
        }
        Kind::StaleQuotes => {
            // From the middle on nothing moves the book, and trades go on.
            let from = tape.updates[victim].0;
            tape.updates.retain(|(at, update)| {
                *at < from || !matches!(update.body, Body::Depth(_) | Body::Touch(_))
            });
        }
        Kind::Crossed | Kind::Locked => {
            let updates = &mut tape.updates[victim..];
            let touch = updates
                .iter_mut()
                .find_map(|(_, update)| match &mut update.body {
                    Body::Touch(touch) => Some(touch),
                    _ => None,
                });
            let touch = touch.expect("a touch");
            touch.id += 1 << 40;
            touch.ask.price.0 = touch.bid.price.0 - i64::from(kind == Kind::Crossed);
        }
        Kind::PriceJump | Kind::Halt | Kind::Gap => unreachable!("tested without recorded data"),
    }
}

#[test]
fn every_defect_in_a_copy_is_found() {
    for (venue, path) in &RECORDINGS[..2] {
        let Some(tape) = recorded(*venue, path) else {
            println!("SKIP {path}: no recorded data");
            continue;
        };
        let clean = fold(&tape);
        for kind in [
            Kind::DuplicateTrade,
            Kind::PriceOutlier,
            Kind::VolumeSpike,
            Kind::OutOfOrder,
            Kind::StaleQuotes,
            Kind::Crossed,
            Kind::Locked,
        ] {
            let mut copy = tape.clone();
            damage(&mut copy, kind);
            let damaged = fold(&copy);
            let before = count(clean.engine.quality(), kind);
            let after = count(damaged.engine.quality(), kind);
            println!("{venue} {}: {before} found, damaged {after}", kind.name());
            assert_eq!(after, before + 1, "{venue} {}", kind.name());
            assert_ne!(clean.engine.state_hash(), damaged.engine.state_hash());
        }
    }
}

#[test]
fn a_day_closes_with_its_first_record_of_the_next() {
    let raw = |name: &str| data().join("hftbacktest-binance-raw").join(name);
    let spot = [
        "spot_btcusdt_20240808.jsonl.gz",
        "spot_btcusdt_20240809.jsonl.gz",
    ];
    let paths = spot.map(raw);
    let files: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let Some(tape) = read(Venue::Binance, &files, 50_000) else {
        println!("SKIP {}: no recorded data", spot[0]);
        return;
    };
    let folded = fold(&tape);
    let [report] = folded.reports.as_slice() else {
        panic!("{:?}", folded.reports);
    };
    let monitor = &folded.engine.quality().monitors()[0];
    assert_eq!(report.instrument, InstrumentId(0));
    assert_eq!(report.day, tape.updates[0].0.day());
    assert_eq!(Some(report), monitor.closed());
    let today = monitor.today();
    assert!(today.day > report.day && today.tally.events > 0);
    let all = monitor.rolling();
    assert_eq!(report.tally.events + today.tally.events, all.events);
    assert_eq!(report.tally.flawed + today.tally.flawed, all.flawed);
    for (kind, finding) in monitor.findings() {
        assert_eq!(report.count(kind) + today.count(kind), finding.count);
    }
}
