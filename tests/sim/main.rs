//! `tickerml-sim`: serves the simulated venues until it is told to stop.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tickerml_sim::capture::{Feed, capture};
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
    /// Write edge.toml and instruments.toml for an edge that trades at the venues being served.
    EdgeConfig {
        /// Folder with ca.pem and addresses.json; the files are written there.
        #[arg(long)]
        dir: PathBuf,
        /// The page's port.
        #[arg(long, default_value_t = 8787)]
        port: u16,
        /// The configuration to start from.
        #[arg(long)]
        template: PathBuf,
    },
    /// Write small captures of the simulated venues, as in tests/fixtures.
    #[command(hide = true)]
    Capture {
        /// Gets one folder a feed.
        #[arg(long)]
        out: PathBuf,
        /// Seed of the market.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

/// The market of a capture stands still after so many bytes; the last batches come on top.
const CAPTURE_BYTES: usize = 72 * 1024;

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

/// Writes `<feed>/simulated.jsonl` for each feed.
fn captures(out: &Path, seed: u64) -> Result<(), String> {
    for feed in Feed::ALL {
        let folder = out.join(feed.name());
        let remedy = |e| {
            let folder = folder.display();
            format!("cannot create {folder}: {e}; choose another --out")
        };
        fs::create_dir_all(&folder).map_err(remedy)?;
        let text = capture(feed, seed, CAPTURE_BYTES).text;
        write(&folder, "simulated.jsonl", &text)?;
        let path = folder.join("simulated.jsonl");
        print_line(&format!("{} {} bytes", path.display(), text.len()));
    }
    Ok(())
}

/// Prints a line at once; a reader that went away is no reason to fail.
fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Rewrites the template line by line: addresses, root certificate, data folder, page.
fn edge_config(dir: &Path, port: u16, template: &Path) -> Result<(), String> {
    let read =
        |path: &Path| fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    let addresses = read(&dir.join("addresses.json"))?;
    let addresses: BTreeMap<String, String> = serde_json::from_str(&addresses)
        .map_err(|e| format!("addresses.json: {e}; start `tickerml-sim serve` first"))?;
    let text = read(template)?;
    let table = template.with_file_name("instruments.toml");
    let mut out = String::from("# Made by `tickerml-sim edge-config` for the simulated venues.\n");
    let mut venue = String::new();
    for line in text.lines() {
        let key = line.split('=').next().unwrap_or("").trim();
        let value = line.split('"').nth(1).unwrap_or("");
        if line.starts_with("[[venue]]") {
            venue.clear();
        } else if key == "name" && out.ends_with("[[venue]]\n") {
            value.clone_into(&mut venue);
        }
        let served = served_as(&venue).map(|(name, path)| {
            let address = addresses.get(name).cloned().unwrap_or_default();
            (address, path)
        });
        let line = match (key, served) {
            ("data_dir", _) => "data_dir = \"data\"".to_owned(),
            ("listen", _) => format!("listen = \"127.0.0.1:{port}\""),
            ("ws", Some((address, path))) => format!("ws = \"wss://{address}{path}\""),
            ("rest", Some((address, _))) => format!("rest = \"https://{address}\""),
            ("ca_file", Some(_)) => "ca_file = \"ca.pem\"".to_owned(),
            // The baseline loses its fees; a demonstration shows how that stops it, not for an hour.
            ("losses_cooloff_s", _) => "losses_cooloff_s = 20".to_owned(),
            _ => line.to_owned(),
        };
        out.push_str(&line);
        out.push('\n');
    }
    write(dir, "edge.toml", &out)?;
    write(dir, "instruments.toml", &read(&table)?)
}

/// The simulated server that stands in for a venue, and the path of its WebSocket.
fn served_as(venue: &str) -> Option<(&'static str, &'static str)> {
    Some(match venue {
        "binance" | "binance-us" => ("binance", ""),
        "coinbase-advanced" => ("coinbase", ""),
        "kraken" => ("kraken", "/v2"),
        "kucoin" => ("kucoin", ""),
        "kucoin-uta" => ("kucoin", "/uta"),
        _ => return None,
    })
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve { out, seed, faults } => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| format!("cannot start the runtime: {e}"))
            .and_then(|runtime| runtime.block_on(serve(&out, seed, faults))),
        Command::EdgeConfig {
            dir,
            port,
            template,
        } => edge_config(&dir, port, &template),
        Command::Capture { out, seed } => captures(&out, seed),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("tickerml-sim: {message}");
            ExitCode::FAILURE
        }
    }
}
