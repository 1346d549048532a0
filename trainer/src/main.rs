//! The host's program. It will train the model that the edge trades, and examine each candidate with the very
//! code that will trade it; today it names its commands and says that they are not built yet.
//!
//! The command names are a contract with scripts and users, so they stand here before their work does.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Exit code of wrong use, as for every command of TickerML.
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
    /// Read market history from files
    Import(Rest),
    /// Train the model on quarantined history
    Train(Rest),
    /// Examine a candidate against the incumbent
    Gate(Rest),
    /// Sign a bundle and offer it to the edges
    Publish(Rest),
    /// Refresh the last layers of the model
    Refresh(Rest),
    /// Replay history with a model
    Backtest(Rest),
    /// Summarise training and trading
    Report(Rest),
    /// List the models and their lineage
    Registry(Rest),
    /// Exchange certificates with an edge
    Pair(Rest),
}

/// Arguments of a command whose own are not settled yet: whatever they are, the answer is the same.
#[derive(Debug, Args)]
struct Rest {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Serve(_) => "serve",
            Self::Import(_) => "import",
            Self::Train(_) => "train",
            Self::Gate(_) => "gate",
            Self::Publish(_) => "publish",
            Self::Refresh(_) => "refresh",
            Self::Backtest(_) => "backtest",
            Self::Report(_) => "report",
            Self::Registry(_) => "registry",
            Self::Pair(_) => "pair",
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    eprintln!("{}", not_built(cli.command.name()));
    ExitCode::from(EXIT_USAGE)
}

/// What a command answers until its work is there.
fn not_built(command: &str) -> String {
    format!(
        "tickerml-trainer {command}: not built yet; this release journals market data and trades \
         the baseline policy (see tickerml-edge --help)"
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_of_the_contract_answers_under_its_own_name() {
        Cli::command().debug_assert();
        let contract = [
            "serve", "import", "train", "gate", "publish", "refresh", "backtest", "report",
            "registry", "pair",
        ];
        for name in contract {
            let arguments = ["tickerml-trainer", name, "--config", "trainer.toml"];
            let cli = Cli::try_parse_from(arguments).expect("a command with any arguments parses");
            assert_eq!(cli.command.name(), name);
            assert!(
                not_built(name).starts_with(&format!("tickerml-trainer {name}: not built yet"))
            );
        }
        assert_eq!(Cli::command().get_subcommands().count(), contract.len());
    }
}
