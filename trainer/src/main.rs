//! The host's program: what is typed, turned into calls of the library.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Exit code of a failure, and of wrong use, as for every command of TickerML.
const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;

/// The host of TickerML: trains and gates the model that the edge trades.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive episodes from edges and offer them bundles
    Serve(Rest),
    /// Read market history from files into the store
    Import(Import),
    /// Say what the store holds
    Store(Stored),
    /// Train the model on quarantined history
    Train(Train),
    /// Examine a candidate against the incumbent, over journals that it has not seen
    Gate(Gate),
    /// Sign a bundle and offer it to the edges
    Publish(Rest),
    /// Refresh the last layers of a trained model
    Refresh(Refresh),
    /// Replay journals with a policy or a model
    Backtest(Backtest),
    /// Write the page of a training from its metrics
    Report(Report),
    /// List the models and their lineage
    Registry(Rest),
    /// Exchange certificates with an edge
    Pair(Rest),
    /// Walk forward through history, training fold by fold, and tell what it earned
    Walk(Walk),
    /// Prove on a task with a known answer that the trainer learns
    Prove(Prove),
    /// Print how rows are split for validation
    Splits(Splits),
}

/// Arguments of a command whose own are not settled yet: whatever they are, the answer is the same.
#[derive(Debug, Args)]
struct Rest {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

#[derive(Debug, Args)]
struct Configured {
    /// Configuration
    #[arg(long, default_value = "config/trainer.toml")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Import {
    /// Journals, captures, dumps (.csv, .gz, .zst, .zip, .npz); what they are is told by their content
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Folder of the store
    #[arg(long, default_value = "var/history")]
    into: PathBuf,
    /// Venue of captures and dumps, as `binance`
    #[arg(long)]
    venue: Option<String>,
    /// Symbol of dumps whose name does not begin with it
    #[arg(long)]
    symbol: Option<String>,
    /// Time between steps, as 1s, 5m or 1h; without it a second, or the length of the bars
    #[arg(long)]
    pulse: Option<String>,
    /// Spread that is assumed where there are no quotes, in basis points
    #[arg(long, default_value_t = 2.0)]
    spread_bps: f64,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Stored {
    /// Folder of the store
    #[arg(long, default_value = "var/history")]
    store: PathBuf,
}

#[derive(Debug, Args)]
struct Train {
    #[command(flatten)]
    configured: Configured,
    /// Folder of the run
    #[arg(long)]
    out: PathBuf,
    /// Go on where a run in that folder was interrupted
    #[arg(long)]
    resume: bool,
    /// Store weights in eight bits
    #[arg(long)]
    int8: bool,
}

#[derive(Debug, Args)]
struct Refresh {
    #[command(flatten)]
    configured: Configured,
    /// Folder of the run that is refreshed
    #[arg(long)]
    from: PathBuf,
    /// Folder of the new run
    #[arg(long)]
    out: PathBuf,
    /// Go on where a run in that folder was interrupted
    #[arg(long)]
    resume: bool,
}

#[derive(Debug, Args)]
struct Gate {
    /// Folder of the candidate's bundle
    candidate: PathBuf,
    /// Journals to examine it on; only what lies behind its cut-off counts
    #[arg(long = "journal", required = true)]
    journals: Vec<PathBuf>,
    /// What trades now: a policy's name, or `model:FOLDER`
    #[arg(long, default_value = "imbalance")]
    incumbent: String,
    /// Simpler models to beat, as `NAME=model:FOLDER`
    #[arg(long = "baseline")]
    baselines: Vec<String>,
    /// Folder of the installed backbone, for a candidate that carries its head alone
    #[arg(long)]
    installed: Option<PathBuf>,
    /// Demands that differ from the usual ones, as a TOML file
    #[arg(long)]
    terms: Option<PathBuf>,
    /// Folder of the verdict and its page
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct Backtest {
    /// Journals
    #[arg(required = true)]
    journals: Vec<PathBuf>,
    /// Who trades: imbalance, flat, buy-and-hold or `model:FOLDER`
    #[arg(long, default_value = "imbalance")]
    policy: String,
    /// Print as JSON, with the equity curves
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Report {
    /// The metrics of a training, or the folder that holds them
    metrics: PathBuf,
    /// The page
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct Walk {
    #[command(flatten)]
    configured: Configured,
    /// Steps of each phase of each fold's training
    #[arg(long, default_value_t = 500)]
    steps: u64,
    /// Seed of everything
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The page
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct Prove {
    /// graph, key-to-door, gamble, planted; parity and speed for the comparison with PyTorch
    name: String,
    /// The form of less than a minute or two
    #[arg(long)]
    short: bool,
    /// Seed of everything
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder in which parity leaves weights, batches and losses
    #[arg(long)]
    out: Option<PathBuf>,
    /// Training steps that speed times
    #[arg(long, default_value_t = 12)]
    steps: u64,
}

#[derive(Debug, Args)]
struct Splits {
    /// As JSON: {"scheme":"combinatorial","folds":10,"test_folds":2,"purge":5,"embargo":5}
    #[arg(long)]
    scheme: String,
    /// Rows
    #[arg(long)]
    rows: usize,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Import(of) => commands::import(&of),
        Command::Store(of) => commands::stored(&of),
        Command::Train(of) => commands::train(&of),
        Command::Refresh(of) => commands::refresh(&of),
        Command::Gate(of) => commands::gate(&of),
        Command::Backtest(of) => commands::backtest(&of),
        Command::Report(of) => commands::report(&of),
        Command::Walk(of) => commands::walk(&of),
        Command::Prove(of) => commands::prove(&of),
        Command::Splits(of) => commands::splits(&of),
        Command::Serve(_) => return not_built("serve"),
        Command::Publish(_) => return not_built("publish"),
        Command::Registry(_) => return not_built("registry"),
        Command::Pair(_) => return not_built("pair"),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(cause) => {
            eprintln!("tickerml-trainer: {cause}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// What a command answers until its work is there.
fn not_built(command: &str) -> ExitCode {
    eprintln!(
        "tickerml-trainer {command}: not built yet; this release trains and examines models on one host, and the \
         edge loads their folders (see tickerml-trainer --help)"
    );
    ExitCode::from(EXIT_USAGE)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_of_the_contract_is_there() {
        Cli::command().debug_assert();
        let command = Cli::command();
        let names: Vec<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        for name in [
            "serve", "import", "train", "gate", "publish", "refresh", "backtest", "report",
            "registry", "pair",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }
}
