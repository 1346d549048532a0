//! A decision of the trained model: times, heap use and memory, in each form, at the reference size.
//!
//! `cargo bench -p tickerml-benches --bench policy` measures on the thread that it runs on. It prints a table for
//! people, then one JSON object a line for programs. Without `--bench` (a test run) it makes one quick pass.
//! Weights are invented, since their values do not change the work. `tests/onnx/speed.py` times onnxruntime with the
//! same graphs.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use tickerml_benches::counting::Counting;
use tickerml_benches::stats::Summary;
use tickerml_edge::policy::model::Model;
use tickerml_edge::policy::network::Form;
use tickerml_shared::action::Action;
use tickerml_shared::bundle::Span;
use tickerml_shared::instrument::InstrumentId;
use tickerml_shared::rand::Rng;
use tickerml_shared::time::Time;
use tickerml_shared::window::{STEPS, Window};
use tickerml_trainer::onnx::{Export, Quantisation, export, invented};
use tickerml_trainer::spec::Spec;

#[path = "trading/meter.rs"]
mod meter;

use meter::Meter;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Passes; each figure is its least over them.
const PASSES: usize = 5;
/// Decisions of a pass: streamed, with a stream that begins anew, and in the window form.
const DECISIONS: (usize, usize, usize) = (2000, 20, 50);
/// The median of a streamed decision: what it must not exceed, and what is hoped for, in nanoseconds.
const TARGETS: (f64, f64) = (600_000.0, 300_000.0);

/// One way to decide.
#[derive(Serialize)]
struct Row {
    way: &'static str,
    #[serde(flatten)]
    times: Summary,
    /// Of the heap, in the last pass,
    heap_calls: u64,
    /// and a decision.
    allocations: f64,
    /// Likewise.
    bytes: f64,
    /// The process's resident memory after it, in KiB.
    resident_kib: u64,
    /// From the files to a model that has proved itself, in milliseconds.
    load_ms: f64,
}

fn main() -> ExitCode {
    let quick = !std::env::args().any(|argument| argument == "--bench");
    match measure(quick) {
        Ok(rows) => {
            report(&rows, quick);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(quick: bool) -> Result<Vec<Row>, Box<dyn Error>> {
    let home = std::env::temp_dir().join(format!("tickerml-policy-{}", std::process::id()));
    write(&home)?;
    println!("resident before a model is loaded: {} KiB", resident_kib());
    let passes = if quick { 1 } else { PASSES };
    let count = |decisions: usize| if quick { 10 } else { decisions };
    let rows = vec![
        ask(&home, "streaming", passes, count(DECISIONS.0), true)?,
        ask(
            &home,
            "streaming, begun anew",
            passes,
            count(DECISIONS.1),
            false,
        )?,
        ask(&home, "window", passes, count(DECISIONS.2), true)?,
    ];
    std::fs::remove_dir_all(&home)?;
    Ok(rows)
}

fn write(home: &Path) -> Result<(), Box<dyn Error>> {
    let spec = Spec::reference();
    let golden = [invented::rows(&spec, STEPS, &mut Rng::new(3, 3))];
    let what = Export {
        spec: &spec,
        weights: &invented::weights(&spec, 1),
        statistics: &invented::statistics(&spec, 2),
        target_return: 0.004,
        training: Span {
            from: Time(1),
            to: Time(2),
        },
        cutoff: Time(3),
        created: Time(4),
        metrics: "invented weights",
        golden: &golden,
        quantisation: Quantisation::None,
        with_backbone: true,
    };
    export(&what, home)?;
    Ok(())
}

fn ask(
    home: &Path,
    way: &'static str,
    passes: usize,
    decisions: usize,
    one_market: bool,
) -> Result<Row, Box<dyn Error>> {
    let form = if way == "window" {
        Form::Window
    } else {
        Form::Streaming
    };
    let start = std::time::Instant::now();
    let mut model = Model::load(home, form)?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let mut meter = Meter::default();
    for pass in 0_u64..passes as u64 {
        // Another market of the same instrument: its stream has to begin anew.
        let mut markets = [Rng::new(pass, 1), Rng::new(pass, 2)].map(|rng| {
            let mut steps = invented::steps(rng);
            let mut window = Window::new(InstrumentId(0));
            for step in steps.by_ref().take(STEPS) {
                window.push(step);
            }
            (steps, window)
        });
        for _ in 0..3 {
            let _ = model.answer(&markets[0].1);
        }
        meter.begin(decisions);
        for turn in 0..decisions {
            let (steps, window) = &mut markets[if one_market { 0 } else { turn % 2 }];
            let step = steps.next().ok_or("the market ended")?;
            window.push(step);
            let answer = meter.time(true, || model.answer(window));
            if answer == Action::HOLD {
                return Err("the model did not answer".into());
            }
        }
        meter.end();
    }
    Ok(Row {
        way,
        times: meter.summary(),
        heap_calls: meter.heap_calls(),
        allocations: meter.allocations(),
        bytes: meter.bytes(),
        resident_kib: resident_kib(),
        load_ms,
    })
}

/// Resident memory of this process, as Linux tells it; zero elsewhere.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn report(rows: &[Row], quick: bool) {
    println!(
        "| way | decisions a pass | p50 µs | p99 µs | mean µs | allocations | bytes | resident KiB | load ms |"
    );
    println!("|---|{}", "--:|".repeat(8));
    for row in rows {
        let times = &row.times;
        println!(
            "| {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {:.0} |",
            row.way,
            times.count,
            times.p50 / 1e3,
            times.p99 / 1e3,
            times.mean / 1e3,
            row.allocations,
            row.bytes,
            row.resident_kib,
            row.load_ms
        );
    }
    if quick {
        println!("a test run: nothing here is a measurement");
        return;
    }
    for row in rows.iter().filter(|row| row.way == "streaming") {
        for (name, target) in [("target", TARGETS.0), ("hope", TARGETS.1)] {
            let verdict = if row.times.p50 <= target {
                "met"
            } else {
                "missed"
            };
            println!(
                "{name} {verdict}: a streamed decision's p50 {:.0} ns of at most {target:.0}",
                row.times.p50
            );
        }
    }
    for row in rows {
        println!("{}", serde_json::to_string(row).expect("plain data"));
    }
}
