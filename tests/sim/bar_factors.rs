//! `bar-factors`: Qlib's factors of the bars on its input, for the comparison with pyqlib
//! (tests/alpha158).
//!
//! A bar is a line `open,high,low,close,volume,value`. The first line of the output is the names of the
//! factors, and each bar's is their values, `null` where one is not known; both are JSON.

use std::io::{BufRead as _, BufWriter, Write as _};
use std::process::ExitCode;

use tickerml_shared::features::alpha158;
use tickerml_shared::features::bars::{Bar, Series};

fn parse(line: &str) -> Option<Bar> {
    let mut numbers = line.split(',').map(|field| field.trim().parse().ok());
    let mut next = || numbers.next().flatten();
    Some(Bar {
        open: next()?,
        high: next()?,
        low: next()?,
        close: next()?,
        volume: next()?,
        value: next()?,
        bought: 0.0,
    })
}

fn run() -> Result<(), String> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let names: Vec<&str> = alpha158::ROWS.iter().map(|row| row.name).collect();
    let mut print = |line: String| writeln!(out, "{line}").map_err(|e| e.to_string());
    print(serde_json::to_string(&names).expect("plain data"))?;
    let mut series = Series::new();
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.map_err(|e| e.to_string())?;
        let bar = parse(&line).ok_or_else(|| {
            format!(
                "line {}: write open,high,low,close,volume,value",
                number + 1
            )
        })?;
        series.push(&bar);
        let factors = alpha158::read(&series);
        print(serde_json::to_string(&factors[..]).expect("plain data"))?;
    }
    out.flush().map_err(|e| e.to_string())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("bar-factors: {cause}");
            ExitCode::FAILURE
        }
    }
}
