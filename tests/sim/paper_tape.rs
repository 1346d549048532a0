//! `paper-tape`: plays tapes through the paper venue and prints what a client knows of its orders.
//!
//! It is one half of the comparison with hftbacktest (tests/parity); docs/PARITY.md tells the format.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::Serialize;
use tickerml_shared::paper::queue::QueueModel;

#[path = "paper_tape/format.rs"]
mod format;
#[path = "paper_tape/play.rs"]
mod play;

use format::Tape;
use play::{Line, Player, Which};

#[derive(Parser)]
#[command(
    name = "paper-tape",
    about = "Plays tapes through the paper venue, one JSON line each"
)]
struct Arguments {
    /// Tapes, and folders of tapes.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,
    /// The rules that the venue follows.
    #[arg(long, value_enum, default_value_t = Which::Hftbacktest)]
    rules: Which,
    /// Use this queue model for every tape.
    #[arg(long, value_parser = queue_model)]
    queue_model: Option<QueueModel>,
    /// Say on stderr how many rows a second went through, reading not counted.
    #[arg(long)]
    time: bool,
}

fn queue_model(name: &str) -> Result<QueueModel, String> {
    QueueModel::from_name(name).ok_or_else(|| {
        "write risk_averse, log, log2, power3, power2_3, power3_3 or square".to_owned()
    })
}

/// What is printed of a tape.
#[derive(Serialize)]
struct Printed<'a> {
    file: &'a str,
    orders: Vec<Line>,
}

/// The files named, and the tapes of the folders named in the order of their names.
fn tape_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable = |e| format!("{}: {e}; name a folder that can be read", path.display());
        let first = files.len();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if file
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                files.push(file);
            }
        }
        files[first..].sort();
    }
    Ok(files)
}

/// Plays one tape; its line, its rows, and the time that playing took.
fn play_file(path: &Path, arguments: &Arguments) -> Result<(String, usize, Duration), String> {
    let text = fs::read_to_string(path)
        .map_err(|e| format!("{}: {e}; name a file that can be read", path.display()))?;
    let tape = Tape::parse(&text, arguments.queue_model)
        .map_err(|r| format!("{}: {}: {}", path.display(), r.place, r.cause))?;
    let mut player = Player::new(&tape, arguments.rules);
    let began = Instant::now();
    player
        .play()
        .map_err(|cause| format!("{}: {cause}", path.display()))?;
    let took = began.elapsed();
    let printed = Printed {
        file: &path.to_string_lossy(),
        orders: player.lines(),
    };
    let line = serde_json::to_string(&printed).expect("plain data");
    Ok((line, tape.events.len(), took))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let files = match tape_files(&arguments.paths) {
        Ok(files) => files,
        Err(message) => {
            eprintln!("paper-tape: {message}");
            return ExitCode::FAILURE;
        }
    };
    let mut failed = false;
    let (mut rows, mut took) = (0, Duration::ZERO);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for file in &files {
        match play_file(file, &arguments) {
            Ok((line, events, time)) => {
                rows += events;
                took += time;
                // A reader that went away wants no more.
                if writeln!(out, "{line}").is_err() {
                    return ExitCode::FAILURE;
                }
            }
            Err(message) => {
                eprintln!("paper-tape: {message}");
                failed = true;
            }
        }
    }
    if out.flush().is_err() {
        return ExitCode::FAILURE;
    }
    if arguments.time {
        let seconds = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a count of rows, for people")]
        let speed = rows as f64 / seconds;
        eprintln!("{rows} rows in {seconds:.3} s: {speed:.0} rows/s");
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
