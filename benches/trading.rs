//! Paper execution, the risk gate and the engine with orders: times and heap use, against peers in
//! the same run.
//!
//! `cargo bench -p tickerml-benches --bench trading` measures everything; words after `--` name the
//! parts to keep (`-- venue`, `-- risk`, `-- engine`). It prints tables for people, then one JSON
//! object a line for programs. docs/BENCHMARKS.md says how to read them. Without `--bench` (a test
//! run) it makes one quick pass, for its assertions: that the peers do the same work.

use std::hint::black_box;
use std::process::ExitCode;

use hftbacktest::backtest::data::Data;
use hftbacktest::depth::{HashMapMarketDepth, ROIVectorMarketDepth};
use serde::Serialize;
use tickerml_benches::counting::{Counting, Heap};
use tickerml_benches::cpu::thread_time;
use tickerml_benches::stats::Summary;
use tickerml_shared::num::pow10;
use tickerml_shared::paper::queue::{Exponent, QueueModel};

#[path = "trading/engine.rs"]
mod engine;
#[path = "trading/meter.rs"]
mod meter;
#[path = "trading/ours.rs"]
mod ours;
#[path = "trading/risk.rs"]
mod risk;
#[path = "trading/rows.rs"]
mod rows;
#[path = "trading/theirs.rs"]
mod theirs;

use meter::Meter;
use ours::{End, Player, Status, Which};
use rows::Tape;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Passes; each figure is its least over them.
const PASSES: usize = 7;
/// Rows of the synthetic tape: measured, and in a test run.
const ROWS: (usize, usize) = (3_000_000, 30_000);
/// Market events of a pass through the engine: measured, and in a test run.
const EVENTS: (usize, usize) = (300_000, 20_000);
/// The queue models that are measured.
const MODELS: [QueueModel; 3] = [
    QueueModel::RiskAverse,
    QueueModel::Log2,
    QueueModel::Power(Exponent::whole(3)),
];
/// Rows a second that the venue shall take, and the 99th percentile of a judgement in nanoseconds.
const TARGETS: (f64, f64) = (5e6, 10_000.0);

/// The ways through a tape, ours before each one that it is compared with.
const WAYS: [&str; 7] = [
    "ours",
    "hftbacktest exchange, HashMap",
    "hftbacktest exchange, ROIVector",
    "ours and a client's book",
    "hftbacktest Backtest, HashMap",
    "ours, the rules it trades by",
    "ours, book alone",
];
/// For each of [`WAYS`], the one of ours that does the same work.
const SAME: [Option<usize>; 7] = [None, Some(0), Some(0), None, Some(3), None, None];

/// One way through one tape.
#[derive(Serialize)]
struct VenueRow {
    tape: String,
    queue: String,
    way: &'static str,
    rows_per_second: f64,
    /// Ours divided by this in time: above one, ours is faster.
    against_ours: Option<f64>,
    allocations: f64,
}

/// One kind of call.
#[derive(Serialize)]
struct CallRow {
    part: &'static str,
    work: &'static str,
    way: &'static str,
    #[serde(flatten)]
    times: Summary,
    allocations: f64,
    bytes: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = !arguments.iter().any(|argument| argument == "--bench");
    let mut words = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    let wanted = |part: &str| {
        let words: Vec<_> = words.clone().collect();
        words.is_empty() || words.iter().any(|word| *word == part)
    };
    let (venue, risk, engine) = (wanted("venue"), wanted("risk"), wanted("engine"));
    // `cargo bench` gives the words meant for the other bench to this one too.
    if let Some(word) = words.find(|word| !["venue", "risk", "engine"].contains(&word.as_str())) {
        println!("no part is called {word}: the parts are venue, risk and engine");
    }
    let mut lines = Vec::new();
    if venue {
        let rows = venue_rows(quick);
        print_venue(&rows);
        lines.extend(rows.iter().map(json));
    }
    let mut calls = Vec::new();
    if risk {
        calls.extend(risk_rows(quick));
    }
    if engine {
        calls.extend(engine_rows(quick));
    }
    print_calls(&calls);
    lines.extend(calls.iter().map(json));
    if quick {
        println!("a test run: nothing here is a measurement");
        return ExitCode::SUCCESS;
    }
    for line in lines {
        println!("{line}");
    }
    ExitCode::SUCCESS
}

fn json(row: &impl Serialize) -> String {
    serde_json::to_string(row).expect("plain data")
}

fn venue_rows(quick: bool) -> Vec<VenueRow> {
    let mut tapes = vec![rows::synthetic(if quick { ROWS.1 } else { ROWS.0 })];
    for capture in if quick { &[][..] } else { &rows::CAPTURES[..] } {
        match rows::recorded(capture) {
            Some(tape) => tapes.push(tape),
            None => println!(
                "SKIP {}: no recording at hand (set TICKERML_DATA)",
                capture.0
            ),
        }
    }
    let mut found = Vec::new();
    for tape in &tapes {
        for model in MODELS {
            found.extend(venue_tape(tape, model, if quick { 1 } else { PASSES }));
        }
    }
    found
}

/// Every way through one tape in turn, pass by pass. A pass takes long enough to lose its core to other
/// work, so that processor time is counted.
fn venue_tape(tape: &Tape, model: QueueModel, passes: usize) -> Vec<VenueRow> {
    let events = theirs::events(tape);
    let data = Data::from_data(&events);
    let (tick, lot) = tape.steps();
    let one = pow10(tape.instrument.price_scale) as f64;
    // A twentieth beyond what traded, as its users choose it.
    let (low, high) = tape.range();
    let region = (low as f64 / one * 0.95, high as f64 / one * 1.05);
    let mut least = [f64::INFINITY; WAYS.len()];
    let mut heap = [0; WAYS.len()];
    let mut reference = None;
    for _ in 0..passes {
        let mut timed = |way: usize, work: &mut dyn FnMut() -> Vec<End>| {
            let (before, start) = (Heap::now(), thread_time());
            let ends = work();
            let took = (thread_time() - start).as_secs_f64();
            heap[way] = Heap::now().since(before).calls;
            least[way] = least[way].min(took);
            if way < 5 {
                // Equal work: every order ends alike, at the same time.
                let first: &Vec<End> = reference.get_or_insert_with(|| ends.clone());
                let differs = first.iter().zip(&ends).position(|(a, b)| a != b);
                let pair = differs.map(|place| (place, first[place], ends[place]));
                assert_eq!(pair, None, "{} {model}: {}", tape.name, WAYS[way]);
            }
        };
        for (way, copies) in [(0, false), (3, true)] {
            let mut player = Player::new(tape, model, Which::Hftbacktest, copies);
            timed(way, &mut || player.play());
        }
        timed(1, &mut || {
            let depth = HashMapMarketDepth::new(tick, lot);
            theirs::exchange(tape, &events, model, depth)
        });
        let mut depth = Some(ROIVectorMarketDepth::new(tick, lot, region.0, region.1));
        timed(2, &mut || {
            theirs::exchange(tape, &events, model, depth.take().expect("played once"))
        });
        let mut backtest = theirs::backtest(tape, &data, model);
        timed(4, &mut || theirs::whole(tape, &mut backtest));
        let mut player = Player::new(tape, model, Which::Realistic, false);
        timed(5, &mut || player.play());
        timed(6, &mut || {
            black_box(ours::book_only(tape));
            Vec::new()
        });
    }
    let ends = reference.unwrap_or_default();
    let count = |status| ends.iter().filter(|end| end.status == status).count();
    println!(
        "{} {model}: {} rows, {} of them trades; {} orders: {} filled, {} canceled, {} expired; all ended alike",
        tape.name,
        tape.rows.len(),
        tape.trades(),
        tape.orders,
        count(Status::Filled),
        count(Status::Canceled),
        count(Status::Expired),
    );
    assert!(count(Status::Filled) > 0, "{}: nothing filled", tape.name);
    let rows = tape.rows.len() as f64;
    (0..WAYS.len())
        .map(|way| VenueRow {
            tape: tape.name.clone(),
            queue: model.to_string(),
            way: WAYS[way],
            rows_per_second: rows / least[way],
            against_ours: SAME[way].map(|ours| least[way] / least[ours]),
            allocations: heap[way] as f64 / rows,
        })
        .collect()
}

fn print_venue(rows: &[VenueRow]) {
    println!("| tape | queue | way | M rows/s | against ours | allocations a row |");
    println!("|---|---|---|--:|--:|--:|");
    for row in rows {
        let ratio = row.against_ours.map(|ratio| format!("{ratio:.2}×"));
        println!(
            "| {} | {} | {} | {:.2} | {} | {:.4} |",
            row.tape,
            row.queue,
            row.way,
            row.rows_per_second / 1e6,
            ratio.unwrap_or_default(),
            row.allocations,
        );
    }
    for row in rows.iter().filter(|row| row.way == WAYS[0]) {
        let verdict = if row.rows_per_second >= TARGETS.0 {
            "met"
        } else {
            "missed"
        };
        println!(
            "target {verdict}: {} {}: {:.2} M rows/s",
            row.tape,
            row.queue,
            row.rows_per_second / 1e6
        );
    }
}

fn risk_rows(quick: bool) -> Vec<CallRow> {
    let mut meters: [Meter; risk::WORK.len()] = Default::default();
    let calls = if quick { risk::QUICK } else { risk::FULL };
    for _ in 0..if quick { 1 } else { PASSES } {
        risk::pass(&mut meters, calls);
    }
    let p99 = meters[0].summary().p99;
    let verdict = if p99 <= TARGETS.1 { "met" } else { "missed" };
    println!(
        "target {verdict}: judge with {} instruments: p99 {p99:.0} ns",
        risk::INSTRUMENTS
    );
    call_rows("risk", &risk::WORK, &meters)
}

fn engine_rows(quick: bool) -> Vec<CallRow> {
    let mut meters: [Meter; engine::WORK.len()] = Default::default();
    let events = if quick { EVENTS.1 } else { EVENTS.0 };
    for pass in 0..if quick { 1 } else { PASSES } {
        let idle = engine::pass(&mut meters, false, events);
        let seen = engine::pass(&mut meters, true, events);
        assert_eq!(idle.fills, 0, "nothing was ordered");
        assert!(seen.fills > 0, "{seen:?}");
        if pass == 0 {
            println!(
                "engine: {} events; {:.1} orders of {} instruments rest on average; {} fills, {} toxicity marks",
                seen.events,
                seen.mean_resting(),
                engine::INSTRUMENTS,
                seen.fills,
                seen.toxic_marks,
            );
        }
    }
    for (meter, (work, way)) in meters.iter().zip(engine::WORK) {
        assert_eq!(meter.heap_calls(), 0, "{work}, {way}: heap calls");
    }
    call_rows("engine", &engine::WORK, &meters)
}

fn call_rows(
    part: &'static str,
    work: &[(&'static str, &'static str)],
    meters: &[Meter],
) -> Vec<CallRow> {
    let rows = work.iter().zip(meters).map(|((work, way), meter)| CallRow {
        part,
        work,
        way,
        times: meter.summary(),
        allocations: meter.allocations(),
        bytes: meter.bytes(),
    });
    rows.collect()
}

fn print_calls(rows: &[CallRow]) {
    if rows.is_empty() {
        return;
    }
    println!(
        "| part | work | way | a pass | mean ns | p50 | p99 | p99.9 | max | allocations | bytes |"
    );
    println!("|---|---|---|{}", "--:|".repeat(8));
    for row in rows {
        println!(
            "| {} | {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {:.0} |",
            row.part,
            row.work,
            row.way,
            row.times.count,
            row.times.mean,
            row.times.p50,
            row.times.p99,
            row.times.p999,
            row.times.max,
            row.allocations,
            row.bytes,
        );
    }
}
