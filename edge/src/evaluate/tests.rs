//! Ranks against slow ones, the sampler on a market that can be counted by hand.

use std::collections::BTreeMap;

use tickerml_shared::engine::{Engine, Setup};
use tickerml_shared::event::{
    Body, Depth, DepthKind, Event, Gap, GapReason, Level, Record, Side, Trade, Update,
};
use tickerml_shared::features::TABLE_LEN;
use tickerml_shared::instrument::{Instrument, InstrumentId, Venue};
use tickerml_shared::num::{Price, Qty};
use tickerml_shared::rand::Rng;
use tickerml_shared::time::{MILLIS, SECONDS, Time};

use super::report::{Report, Why};
use super::statistics::{character, coefficient, ranks, spearman};
use super::*;

const START: u64 = 1_790_000_000 * SECONDS;

// --- ranks and correlations --------------------------------------------------------------------

/// Below, and half of what is equal.
fn slow_ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + (equal as f64 + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

fn slow_pearson(x: &[f64], y: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        x.iter().zip(y).map(|(x, y)| of(x - mx, y - my)).sum()
    };
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

#[test]
fn ranks_are_those_of_the_textbook() {
    // Spearman's example as Wikipedia gives it: intelligence and hours of television a week.
    let x = [106., 100., 86., 101., 99., 103., 97., 113., 112., 110.];
    let y = [7., 27., 2., 50., 28., 29., 20., 12., 6., 17.];
    let pairs: Vec<_> = x.into_iter().zip(y).collect();
    let found = spearman(&pairs).expect("enough pairs");
    assert!((found + 29.0 / 165.0).abs() < 1e-12, "{found}");
    assert_eq!(spearman(&pairs[1..]), None, "too few");
    let flat: Vec<_> = x.into_iter().map(|x| (x, 1.0)).collect();
    assert_eq!(spearman(&flat), None, "a side without variation");
    let mut rng = Rng::new(3, 1);
    for count in [0, 1, 2, 50, 333] {
        let values: Vec<f64> = (0..count)
            .map(|_| (rng.next_u64() % 40) as f64 - 20.0)
            .collect();
        assert_eq!(ranks(&values), slow_ranks(&values));
    }
    assert_eq!(ranks(&[0.0, -0.0, 1.0]), [1.5, 1.5, 3.0]);
}

/// Samples of two instruments with holes, a column that foretells, one that does not, one that is
/// constant and one that is never known.
fn made_up() -> Samples {
    let mut rng = Rng::new(11, 1);
    let mut unit = move || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
    let mut rows = Vec::new();
    for instrument in 0..2 {
        for second in 0..700_u64 {
            if second % 97 == 5 {
                continue;
            }
            let hint = unit();
            let ahead = hint * 0.3 + unit() + instrument as f64;
            let known = second % 13 != 0;
            rows.push(Sample {
                at: Time(START + second * SECONDS),
                instrument,
                run: u32::from(second > 300),
                mid: 1.0,
                returns: [
                    if second % 31 == 0 { f64::NAN } else { ahead },
                    unit(),
                    f64::NAN,
                ],
                values: [
                    if known {
                        (hint + 5.0 * instrument as f64) as f32
                    } else {
                        f32::NAN
                    },
                    (unit() * 4.0).round() as f32,
                    instrument as f32,
                    f32::NAN,
                ]
                .into(),
            });
        }
    }
    Samples {
        every_ns: SECONDS,
        places: vec![0, 1, 2, 3],
        instruments: vec!["a:x".to_owned(), "b:y".to_owned()],
        rows,
        masked: 7,
        unknown: Vec::new(),
        listed: Vec::new(),
    }
}

/// Value and return of one instrument where both are known, by second.
fn slow_pairs(samples: &Samples, instrument: usize, column: usize) -> Vec<(u64, f64, f64)> {
    let rows = samples
        .rows
        .iter()
        .filter(|row| row.instrument == instrument);
    rows.map(|row| {
        (
            row.at.0 / SECONDS,
            f64::from(row.values[column]),
            row.returns[0],
        )
    })
    .filter(|(_, x, y)| !x.is_nan() && !y.is_nan())
    .collect()
}

fn slow_spearman(pairs: &[(u64, f64, f64)]) -> f64 {
    let x: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let y: Vec<f64> = pairs.iter().map(|pair| pair.2).collect();
    slow_pearson(&slow_ranks(&x), &slow_ranks(&y))
}

#[test]
fn a_coefficient_is_what_the_page_says_it_is() {
    let samples = made_up();
    for column in 0..2 {
        let found = coefficient(&samples, column, 0);
        let (mut x, mut y) = (Vec::new(), Vec::new());
        let mut blocks: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
        for instrument in 0..2 {
            let pairs = slow_pairs(&samples, instrument, column);
            let count = pairs.len() as f64;
            let share = |rank: &f64| (rank - (count + 1.0) / 2.0) / count;
            let of = |pick: fn(&(u64, f64, f64)) -> f64| -> Vec<f64> {
                slow_ranks(&pairs.iter().map(pick).collect::<Vec<_>>())
            };
            x.extend(of(|pair| pair.1).iter().map(share));
            y.extend(of(|pair| pair.2).iter().map(share));
            for minute in START / SECONDS / 60..START / SECONDS / 60 + 20 {
                let own: Vec<_> = pairs
                    .iter()
                    .copied()
                    .filter(|(at, ..)| at / 60 == minute && (at + 1).div_ceil(60) == minute + 1)
                    .collect();
                if own.len() >= 10 {
                    let entry = (slow_spearman(&own), own.len() as f64);
                    blocks.entry(minute).or_default().push(entry);
                }
            }
        }
        let means: Vec<f64> = blocks
            .values()
            .map(|own| {
                let weight: f64 = own.iter().map(|(_, weight)| weight).sum();
                own.iter().map(|(ic, weight)| ic * weight).sum::<f64>() / weight
            })
            .collect();
        let count = means.len() as f64;
        let mean = means.iter().sum::<f64>() / count;
        let square: f64 = means.iter().map(|one| (one - mean) * (one - mean)).sum();
        let deviation = (square / (count - 1.0)).sqrt();
        let close = |found: Option<f64>, wanted: f64| {
            let found = found.expect("enough");
            assert!((found - wanted).abs() < 1e-9, "{column}: {found} {wanted}");
        };
        assert_eq!((found.pairs, found.blocks), (x.len(), means.len()));
        close(found.pooled, slow_pearson(&x, &y));
        close(found.mean, mean);
        close(found.ratio, mean / deviation);
        close(found.t, mean / (deviation / count.sqrt()));
    }
    let hint = coefficient(&samples, 0, 0);
    assert!(hint.t > Some(4.0) && hint.pooled > Some(0.15), "{hint:?}");
    assert_eq!(coefficient(&samples, 0, 2).pooled, None, "no returns");
    assert_eq!(coefficient(&samples, 3, 0).pooled, None, "never known");
    // The instruments' means differ in value and in return, which must not look like foresight.
    let noise = coefficient(&samples, 2, 0);
    assert_eq!((noise.pooled, noise.t), (None, None), "constant in each");
}

#[test]
fn no_return_is_in_two_blocks() {
    let mut samples = made_up();
    // Only samples whose ten seconds end in the next block say anything.
    for row in &mut samples.rows {
        let last = row.at.0 / SECONDS % 200 > 190;
        row.values[1] = if last { 1.0 } else { 0.0 };
        row.returns[1] = f64::from(row.values[1]);
    }
    let found = coefficient(&samples, 1, 1);
    assert!(found.pooled > Some(0.99) && found.blocks == 0, "{found:?}");
}

#[test]
fn a_column_is_described() {
    let samples = made_up();
    let noise = character(&samples, 1);
    assert_eq!(noise.known, samples.rows.len());
    let close = |found: Option<f64>, wanted: f64, by: f64| {
        assert!((found.expect("known") - wanted).abs() < by, "{found:?}");
    };
    close(noise.autocorrelation, 0.0, 0.1);
    close(noise.turnover, 2.0 / 3.0, 0.05);
    let constant = character(&samples, 2);
    assert_eq!((constant.varies, constant.turnover), (false, None));
    assert_eq!(character(&samples, 3).known, 0);
    let mut steady = samples;
    for (place, row) in steady.rows.iter_mut().enumerate() {
        row.values[1] = place as f32;
    }
    let steady = character(&steady, 1);
    close(steady.autocorrelation, 1.0, 0.01);
    close(steady.turnover, 0.003, 0.001);
}

#[test]
fn a_report_says_why_a_feature_has_no_coefficient() {
    let samples = made_up();
    let report = Report::new(&samples, Vec::new());
    let why: BTreeMap<_, _> = report
        .features
        .iter()
        .map(|one| (one.place, one.why))
        .collect();
    assert_eq!(why[&0], None);
    let sizes = report
        .features
        .iter()
        .map(|one| one.horizons[0].t.map_or(-1.0, f64::abs));
    assert!(sizes.collect::<Vec<_>>().is_sorted_by(|a, b| a >= b));
    assert_eq!(report.sorted_by, "|t| at 1 s");
    assert_eq!(why[&2], Some(Why::Constant));
    assert_eq!(why[&3], Some(Why::Unknown));
    let all = report.table(0);
    let rows = |text: &str| text.lines().filter(|line| line.contains('%')).count();
    assert_eq!(rows(&all), 4, "{all}");
    assert!(
        all.contains("never known") && !all.contains("not shown"),
        "{all}"
    );
    assert!(!all.contains("NaN") && !all.contains("inf"), "{all}");
    let best = report.table(1);
    assert_eq!(rows(&best), 1, "{best}");
    assert!(
        best.contains("1 below these, 1 never known, 1 constant"),
        "{best}"
    );
    let empty = Samples {
        rows: Vec::new(),
        ..samples
    };
    assert!(!Report::new(&empty, Vec::new()).says_something());
}

#[test]
fn a_picture_is_well_formed_and_escapes_what_a_tape_says() {
    let mut samples = made_up();
    samples.instruments[0] = "a:<script>\"&\u{1}'".to_owned();
    let report = Report::new(&samples, Vec::new());
    for top in [0, 1, 40] {
        let svg = chart::svg(&report, top);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("<script") && !svg.contains("NaN") && !svg.contains('\u{1}'));
        for (open, close) in [("<g", "</g>"), ("<text", "</text>"), ("<title", "</title>")] {
            assert_eq!(
                svg.matches(open).count(),
                svg.matches(close).count(),
                "{open}"
            );
        }
        let shown = if top == 1 { 1 } else { 2 };
        // One title for the tooltip of each bar; the third horizon has no returns.
        assert_eq!(svg.matches("<title>").count(), 2 * shown, "{svg}");
    }
}

// --- sampling ----------------------------------------------------------------------------------

/// A market with one instrument and a mid that is the number of the second.
struct Tape {
    engine: Engine,
    sampler: Sampler,
    seq: u64,
}

impl Tape {
    fn new(every_ms: u64) -> Self {
        let places = (0..TABLE_LEN).collect();
        Self::with(Terms::new(every_ms, places, Vec::new()).expect("good terms"))
    }

    fn with(terms: Terms) -> Self {
        let instrument = Instrument::unknown(Venue::Kraken, "A/USD").expect("short");
        Self {
            engine: Engine::new(Setup::market_only(vec![instrument])),
            sampler: Sampler::new(terms),
            seq: 0,
        }
    }

    fn record(&mut self, at_ns: u64, body: Body) {
        self.seq += 1;
        let at = Time(START + at_ns);
        let update = Update {
            instrument: InstrumentId(0),
            venue_time: at,
            received: at,
            late: false,
            body,
        };
        self.sampler.before(&self.engine, at);
        self.engine.handle(&Record {
            seq: self.seq,
            at,
            event: Event::Market(update),
        });
        while self.engine.poll().is_some() {}
    }

    fn book(&mut self, at_ns: u64, mid: i64) {
        let level = |price: i64| Level {
            price: Price(price),
            qty: Qty(5),
        };
        let depth = Depth {
            kind: DepthKind::Snapshot {
                truncated: false,
                limit: 0,
            },
            first: true,
            last: true,
            id: 0,
            bids: 1,
            levels: [level(mid - 1), level(mid + 1)].into_iter().collect(),
            checksum: None,
        };
        self.record(at_ns, Body::Depth(depth));
    }

    /// A book a second, `MILLIS` after its beginning.
    fn run(&mut self, seconds: std::ops::Range<u64>) {
        for second in seconds {
            self.book(second * SECONDS + MILLIS, 1_000 + second as i64);
        }
    }

    fn finish(self) -> Samples {
        self.sampler.finish()
    }
}

fn second(row: &Sample) -> u64 {
    (row.at.0 - START) / SECONDS
}

#[test]
fn a_sample_knows_what_was_and_its_return_is_what_came() {
    let mut tape = Tape::new(1_000);
    tape.run(0..100);
    let samples = tape.finish();
    let seconds: Vec<_> = samples.rows.iter().map(second).collect();
    assert_eq!(seconds, (1..100).collect::<Vec<_>>());
    for row in &samples.rows {
        // The book of the second before is the newest.
        let mid = 999.0 + second(row) as f64;
        assert_eq!(row.mid, 2.0 * mid);
        for (slot, ahead) in HORIZONS_S.into_iter().enumerate() {
            let wanted = (second(row) + ahead < 100).then(|| (mid + ahead as f64) / mid - 1.0);
            let found = row.returns[slot];
            assert!(
                wanted.map_or(found.is_nan(), |wanted| (found - wanted).abs() < 1e-12),
                "{} {ahead}: {found} {wanted:?}",
                second(row)
            );
        }
        assert!(row.values.iter().any(|value| !value.is_nan()));
    }
}

#[test]
fn what_comes_later_changes_no_sample() {
    let sampled = |later: i64| {
        let mut tape = Tape::new(250);
        tape.run(0..30);
        // At the very instant of a sample: not before it.
        tape.book(30 * SECONDS, later);
        tape.record(
            30 * SECONDS,
            Body::Trade(Trade {
                id: 1,
                price: Price(later),
                qty: Qty(3),
                aggressor: Side::Buy,
            }),
        );
        tape.book(31 * SECONDS, later);
        tape.finish()
    };
    let (one, other) = (sampled(1_030), sampled(5_000));
    let until = |samples: &Samples| -> Vec<(Time, f64, Vec<u32>)> {
        let rows = samples
            .rows
            .iter()
            .filter(|row| row.at.0 <= START + 30 * SECONDS);
        rows.map(|row| {
            let bits = row.values.iter().map(|value| value.to_bits());
            (row.at, row.mid, bits.collect())
        })
        .collect()
    };
    assert_eq!(until(&one).len(), 120);
    assert_eq!(until(&one), until(&other));
    assert_ne!(one.rows.last(), other.rows.last());
}

#[test]
fn looking_leaves_the_engine_as_it_is_and_sees_what_a_pulse_sees() {
    let mut tape = Tape::new(1_000);
    tape.run(0..90);
    let hash = tape.engine.state_hash();
    let at = Time(START + 95 * SECONDS);
    let seen = tape.engine.table_at(InstrumentId(0), at);
    assert_eq!(tape.engine.state_hash(), hash);
    assert_ne!(seen, tape.engine.table(InstrumentId(0)), "time went on");
    tape.engine.handle(&Record {
        seq: tape.seq + 1,
        at,
        event: Event::Pulse,
    });
    assert_eq!(seen, tape.engine.table(InstrumentId(0)));
    assert!(seen.is_some());
}

#[test]
fn no_return_crosses_a_gap_a_hole_or_a_clock_that_was_set() {
    let mut tape = Tape::new(1_000);
    tape.run(0..20);
    let gap = Gap {
        reason: GapReason::Disconnected,
        expected: 0,
        got: 0,
    };
    tape.record(20 * SECONDS + MILLIS, Body::Gap(gap));
    // Three seconds without a book, and three with one, though nothing changes in between.
    tape.run(24..30);
    tape.run(30 + 70..30 + 90);
    tape.run(50..60);
    let samples = tape.finish();
    assert_eq!(samples.masked, 4, "21 to 24");
    let rows: Vec<_> = samples
        .rows
        .iter()
        .map(|row| (second(row), row.returns.map(|value| !value.is_nan())))
        .collect();
    let has = |at: u64, nth: usize| {
        let mut found = rows.iter().filter(|(second, _)| *second == at);
        found.nth(nth).map(|(_, known)| *known)
    };
    assert_eq!(has(20, 0), Some([false; 3]), "the gap is behind it");
    assert_eq!(has(19, 0), Some([true, false, false]));
    assert_eq!(has(5, 0), Some([true, true, false]));
    assert_eq!(has(22, 0), None);
    assert_eq!(has(29, 0), Some([false; 3]), "the hole is behind it");
    assert_eq!(has(40, 0), None, "within the hole");
    assert_eq!(has(99, 0), None);
    assert_eq!(has(101, 0), Some([true, true, false]));
    assert_eq!(has(119, 0), Some([false; 3]), "the clock was set back");
    assert_eq!(has(51, 0), Some([true, false, false]));
}

#[test]
fn memory_is_bounded_and_thinner_samples_are_the_same_samples() {
    let terms = || Terms::new(500, (0..TABLE_LEN).collect(), Vec::new()).expect("good terms");
    let run = |terms: Terms| {
        let mut tape = Tape::with(terms);
        for half in 0..400 {
            tape.book(
                half * SECONDS / 2 + MILLIS,
                1_000 + (half * half % 97) as i64,
            );
            assert!(tape.sampler.rows.len() < 1_000);
        }
        tape.finish()
    };
    let (all, few) = (run(terms()), run(terms().at_most(50)));
    assert_eq!((all.every_ns, few.every_ns), (SECONDS / 2, 4 * SECONDS));
    assert!(few.rows.len() < 50, "{}", few.rows.len());
    let same = |row: &&Sample| row.at.0.is_multiple_of(few.every_ns);
    let bits = |row: &Sample| {
        let returns = row.returns.map(f64::to_bits);
        let values: Vec<_> = row.values.iter().map(|value| value.to_bits()).collect();
        (row.at, row.run, returns, values)
    };
    let wanted: Vec<_> = all.rows.iter().filter(same).map(bits).collect();
    assert_eq!(few.rows.iter().map(bits).collect::<Vec<_>>(), wanted);
}

#[test]
fn instruments_are_chosen_by_name() {
    for (asked, found, unknown) in [
        (vec![], 1, 0),
        (vec!["A/USD"], 1, 0),
        (vec!["kraken:A/USD", "A/USD"], 1, 0),
        (vec!["binance:A/USD", "A/USD"], 1, 1),
        (vec!["A"], 0, 1),
    ] {
        let names = asked.iter().map(|name| (*name).to_owned()).collect();
        let mut tape = Tape::with(Terms::new(1_000, vec![0], names).expect("good terms"));
        tape.run(0..5);
        let samples = tape.finish();
        let counts = (samples.instruments.len(), samples.unknown.len());
        assert_eq!(counts, (found, unknown), "{asked:?}");
        assert_eq!(samples.listed, ["kraken:A/USD"]);
        assert_eq!(samples.rows.len(), 4 * found);
    }
    for every_ms in [0, 1, 49, 300, 700, 1_500, 3_601_000, u64::MAX] {
        let error = Terms::new(every_ms, Vec::new(), Vec::new()).expect_err("uneven");
        assert!(error.to_string().contains("divisor of 1000"), "{every_ms}");
    }
}
