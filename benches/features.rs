//! The table of features: times and heap use of an event, of a bar's close, and of indicators against
//! peers in the same run.
//!
//! `cargo bench -p tickerml-benches --bench features` measures everything; words after `--` name the
//! parts to keep (`-- events`, `-- closes`, `-- bars`). It prints tables for people, then one JSON object
//! a line for programs. Without `--bench` (a test run) it makes one quick pass, for its assertions.
//!
//! TA-Lib is a peer where `TICKERML_TALIB` names a Python that has it (benches/talib_batch.py says how).

use std::process::ExitCode;

use serde::Serialize;
use tickerml_benches::counting::Counting;
use tickerml_benches::stats::Summary;
use tickerml_shared::features::{Features, TABLE_LEN};

#[path = "features/bars.rs"]
mod bars;
#[path = "features/closes.rs"]
mod closes;
#[path = "features/events.rs"]
mod events;
#[path = "trading/meter.rs"]
mod meter;

use meter::Meter;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Passes; each figure is its least over them.
const PASSES: usize = 5;
/// The median of an event with its read, the 99th percentile of a bar's close, nanoseconds, and the
/// memory of an instrument.
const TARGETS: (f64, f64, usize) = (10_000.0, 50_000.0, 512 << 10);

/// One kind of work.
#[derive(Serialize)]
struct Row {
    part: &'static str,
    what: String,
    way: String,
    /// Features that it is about.
    values: usize,
    #[serde(flatten)]
    times: Summary,
    /// Of the heap, a piece of work; `None` where it is not ours to count.
    allocations: Option<f64>,
    /// Likewise.
    bytes: Option<f64>,
}

impl Row {
    fn of(part: &'static str, what: &str, way: &str, values: usize, meter: &Meter) -> Self {
        Self {
            part,
            what: what.to_owned(),
            way: way.to_owned(),
            values,
            times: meter.summary(),
            allocations: Some(meter.allocations()),
            bytes: Some(meter.bytes()),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = !arguments.iter().any(|argument| argument == "--bench");
    let words: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wanted = |part: &str| words.is_empty() || words.iter().any(|word| *word == part);
    let bytes = size_of::<Features>();
    println!("the table has {TABLE_LEN} features; an instrument's memory is {bytes} bytes");
    verdict(
        "memory of an instrument",
        bytes as f64,
        TARGETS.2 as f64,
        "bytes",
    );
    let mut rows = Vec::new();
    if wanted("events") {
        rows.extend(events::rows(quick));
    }
    if wanted("closes") {
        rows.extend(closes::rows(quick));
    }
    if wanted("bars") {
        rows.extend(bars::rows(quick));
    }
    print(&rows);
    if quick {
        println!("a test run: nothing here is a measurement");
        return ExitCode::SUCCESS;
    }
    for row in &rows {
        let name = format!("{}, {}", row.what, row.way);
        match row.part {
            "events" => verdict(&format!("{name}: p50"), row.times.p50, TARGETS.0, "ns"),
            "closes" => verdict(&format!("{name}: p99"), row.times.p99, TARGETS.1, "ns"),
            _ => {}
        }
    }
    for row in &rows {
        println!("{}", serde_json::to_string(row).expect("plain data"));
    }
    ExitCode::SUCCESS
}

fn verdict(what: &str, value: f64, target: f64, unit: &str) {
    let verdict = if value <= target { "met" } else { "missed" };
    println!("target {verdict}: {what} {value:.0} {unit} of at most {target:.0}");
}

fn print(rows: &[Row]) {
    println!(
        "| part | of | way | values | a pass | mean ns | p50 | p99 | p99.9 | p50 a value | × ours | allocations |"
    );
    println!("|---|---|---|{}", "--:|".repeat(9));
    for row in rows {
        let each = |row: &Row| row.times.p50 / row.values as f64;
        let ours = rows.iter().find(|other| {
            (other.part, &other.what) == ("bars", &row.what) && other.way.starts_with("ours")
        });
        let ratio = match ours {
            Some(ours) if !row.way.starts_with("ours") => {
                format!("{:.2}", each(row) / each(ours))
            }
            _ => String::new(),
        };
        let each_printed = match row.part {
            "bars" => format!("{:.1}", each(row)),
            _ => String::new(),
        };
        println!(
            "| {} | {} | {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {} | {} |",
            row.part,
            row.what,
            row.way,
            row.values,
            row.times.count,
            row.times.mean,
            row.times.p50,
            row.times.p99,
            row.times.p999,
            each_printed,
            ratio,
            row.allocations
                .map_or_else(String::new, |calls| format!("{calls:.2}")),
        );
    }
}
