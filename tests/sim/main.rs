//! `tickerml-sim`: serves the simulated venues until it is told to stop.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tickerml_sim::{FaultSchedule, Sim, SimConfig};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(name = "tickerml-sim", about = "Simulated venues on loopback")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve four venues; write ca.pem and addresses.json; stop on SIGTERM or ctrl-c.
    Serve {
        /// Folder for ca.pem and addresses.json.
        #[arg(long)]
        out: PathBuf,
        /// Seed of the market and of the faults.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// What goes wrong.
        #[arg(long, value_enum, default_value_t = Faults::None)]
        faults: Faults,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Faults {
    /// Nothing.
    None,
    /// A fault every few seconds.
    Demo,
}

/// Writes a file so that a reader sees all of it or nothing.
fn write(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let (part, path) = (folder.join(format!(".{name}.part")), folder.join(name));
    let attempt = fs::write(&part, text).and_then(|()| fs::rename(&part, &path));
    attempt.map_err(|e| format!("cannot write {}: {e}; choose another --out", path.display()))
}

async fn serve(out: &Path, seed: u64, faults: Faults) -> Result<(), String> {
    let remedy = |e| format!("cannot create {}: {e}; choose another --out", out.display());
    fs::create_dir_all(out).map_err(remedy)?;
    let broken = |e| format!("cannot listen for signals: {e}");
    let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
    let mut config = SimConfig::new(seed);
    if matches!(faults, Faults::Demo) {
        config.faults = FaultSchedule::demo(seed);
    }
    let start = Sim::start(config).await;
    let sim = start.map_err(|e| format!("cannot open the simulated venues on loopback: {e}"))?;
    let rows: Vec<String> = sim
        .addrs
        .iter()
        .map(|(kind, addr)| format!(r#""{kind}":"{addr}""#))
        .collect();
    let addresses = format!("{{{}}}\n", rows.join(","));
    write(out, "ca.pem", &sim.ca_pem)?;
    write(out, "addresses.json", &addresses)?;
    print_line(&format!("ready {}", addresses.trim_end()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let venues: Vec<String> = sim
        .injected()
        .iter()
        .map(|(venue, counts)| {
            let counts: Vec<String> = counts
                .iter()
                .map(|(kind, n)| format!(r#""{kind}":{n}"#))
                .collect();
            format!(r#""{venue}":{{{}}}"#, counts.join(","))
        })
        .collect();
    print_line(&format!(r#"{{"injected":{{{}}}}}"#, venues.join(",")));
    sim.stop().await;
    Ok(())
}

/// Prints a line at once; a reader that went away is no reason to fail.
fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn main() -> ExitCode {
    let Command::Serve { out, seed, faults } = Arguments::parse().command;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = runtime
        .map_err(|e| format!("cannot start the runtime: {e}"))
        .and_then(|runtime| runtime.block_on(serve(&out, seed, faults)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("tickerml-sim: {message}");
            ExitCode::FAILURE
        }
    }
}
