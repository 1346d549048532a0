//! The command line of the edge. Exit code 0: done; 1: failed; 2: wrong usage or configuration.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tickerml_edge::catalogue::{self, Catalogue, Filter};
use tickerml_edge::config::terms;
use tickerml_edge::config::{self, Config};
use tickerml_edge::control::Ask;
use tickerml_edge::evaluate::report::Report;
use tickerml_edge::evaluate::{Sampler, Terms, chart};
use tickerml_edge::policy::Setting;
use tickerml_edge::telemetry::{self, LogFormat};
use tickerml_edge::{control, export, record, replay, run, store};
use tickerml_shared::engine::Engine;
use tickerml_shared::features::drift::ReferenceBuilder;
use tickerml_shared::time::Time;

/// Stack of a worker thread. Recovery hands the engine (some 60 KB) from frame to frame, which takes
/// half a megabyte where the compiler does not merge the copies; pages that are never touched cost
/// address space only.
const STACK_BYTES: usize = 2 << 20;
/// Worker threads: one for the desk, one for the connections.
const WORKERS: usize = 2;
/// Threads for blocking calls.
const BLOCKING_THREADS: usize = 4;

#[derive(Parser)]
#[command(
    name = "tickerml-edge",
    version,
    about = "Verified market data, decisions and paper execution"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trade on paper until stopped
    Run {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Stop after so many seconds
        #[arg(long, value_name = "SECONDS")]
        r#for: Option<u64>,
        /// Print the summary as JSON
        #[arg(long)]
        json: bool,
    },
    /// Rebuild books from captures, or a day from its journal
    Replay {
        /// Captures (plain, .gz, .zst) of one venue, journal files or journal folders
        #[arg(required = true, value_name = "INPUT")]
        inputs: Vec<PathBuf>,
        /// The captures' venue
        #[arg(long, value_name = "VENUE")]
        venue: Option<String>,
        /// Drop a journal's decisions and fills and ask this policy instead
        #[arg(long, value_name = "POLICY")]
        policy: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Record the venues' frames
    Record {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Folder for the captures
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// Stop after so many seconds
        #[arg(long, value_name = "SECONDS")]
        r#for: Option<u64>,
    },
    /// Check a configuration and its data folder without running, and show limits and costs
    Check {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the state of the running edge
    Status(Running),
    /// Stop trading; latched until resumed
    Halt {
        #[command(flatten)]
        running: Running,
        /// Only this: a venue, or venue:symbol
        #[arg(long, value_name = "SCOPE", default_value = "portfolio")]
        scope: String,
    },
    /// Trade again
    Resume {
        #[command(flatten)]
        running: Running,
        /// Only this: a venue, or venue:symbol
        #[arg(long, value_name = "SCOPE", default_value = "portfolio")]
        scope: String,
        /// Why; it is written down
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Stop trading and close every position
    Flatten(Running),
    /// Write features over time: every feature from a store, or what the policy saw from a journal
    Export {
        /// A store (data/features.redb of an edge that is stopped), or a journal file or folder
        #[arg(value_name = "SOURCE")]
        source: PathBuf,
        /// File to write, as Parquet if it ends in .parquet; JSON lines otherwise, to standard output without it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Only this instrument
        #[arg(long, value_name = "VENUE:SYMBOL")]
        instrument: Option<String>,
        /// First digits of the schema whose features a store shall give; this build's without it
        #[arg(long, value_name = "ID")]
        version: Option<String>,
        /// Only from this time on: 2026-01-31, 2026-01-31T12:00:00Z, or unix seconds
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Only before this time, written alike
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
    },
    /// List the table of features, or measure how well they foretell returns
    Features(Features),
    /// Pair with a trainer (not built yet)
    Pair,
    /// Check a store file in a process of its own
    #[command(hide = true)]
    ProbeStore {
        /// The file
        path: PathBuf,
    },
}

#[derive(clap::Args)]
struct Running {
    /// Configuration file of the running edge
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Features {
    /// Only this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Only what a model sees
    #[arg(long)]
    selected: bool,
    /// Measure on captures (plain, .gz, .zst) of one venue, or on a journal file or folder
    #[arg(long, value_name = "INPUT", num_args = 1..)]
    evaluate: Vec<PathBuf>,
    /// The captures' venue
    #[arg(long, value_name = "VENUE", requires = "evaluate")]
    venue: Option<String>,
    /// Only this instrument: a symbol, or venue:symbol; may be given again
    #[arg(long, value_name = "SYMBOL", requires = "evaluate")]
    instrument: Vec<String>,
    /// Milliseconds of the tape's time between two samples
    #[arg(
        long,
        value_name = "MILLISECONDS",
        default_value_t = 1_000,
        requires = "evaluate"
    )]
    every_ms: u64,
    /// So many features at most; 0 shows all
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 40,
        requires = "evaluate"
    )]
    top: usize,
    /// Draw the best features into this file
    #[arg(long, value_name = "FILE", requires = "evaluate")]
    svg: Option<PathBuf>,
    /// Write what the selected features looked like in a journal into this file: a reference for drift
    #[arg(
        long,
        value_name = "FILE",
        requires = "evaluate",
        conflicts_with = "venue"
    )]
    reference: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A message for stderr and the exit code.
struct Failure(u8, String);

impl Failure {
    fn usage(cause: impl ToString) -> Self {
        Self(2, cause.to_string())
    }

    fn failed(cause: impl ToString) -> Self {
        Self(1, cause.to_string())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(Failure(code, cause)) => {
            eprintln!("tickerml-edge: {}", cause.replace('\n', " "));
            ExitCode::from(code)
        }
    }
}

fn dispatch(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Run {
            config,
            r#for,
            json,
        } => run_edge(&config, r#for, json)?,
        Command::Replay {
            inputs,
            venue,
            policy,
            json,
        } => {
            replay_inputs(&inputs, venue.as_deref(), policy.as_deref(), json)?;
        }
        Command::Record { config, out, r#for } => record_venues(&config, &out, r#for)?,
        Command::Check { config, json } => check(&config, json)?,
        Command::Status(running) => ask(&Ask::Status, &running)?,
        Command::Halt { running, scope } => ask(&Ask::Halt { scope }, &running)?,
        Command::Resume {
            running,
            scope,
            reason,
        } => ask(&Ask::Resume { scope, reason }, &running)?,
        Command::Flatten(running) => ask(&Ask::Flatten, &running)?,
        Command::Export {
            source,
            out,
            instrument,
            version,
            from,
            to,
        } => {
            let time = |key: &str, text: Option<String>| {
                let text = text.as_deref().map(export::time).transpose();
                text.map_err(|cause| Failure::usage(format!("{key}: {cause}")))
            };
            let part = export::Part {
                instrument,
                version,
                from_ns: time("--from", from)?,
                to_ns: time("--to", to)?,
            };
            export_part(&source, out.as_deref(), &part)?;
        }
        Command::Features(arguments) => features(&arguments)?,
        Command::Pair => {
            return Err(Failure::usage(
                "not built yet: this release runs, replays and records",
            ));
        }
        Command::ProbeStore { path } => return Ok(store::probe_main(&path)),
    }
    Ok(0)
}

fn load(path: &Path) -> Result<Config, Failure> {
    config::load(path).map_err(Failure::usage)
}

fn log(config: &Config) -> Result<(), Failure> {
    let format: LogFormat = config.log_format.parse().map_err(Failure::usage)?;
    telemetry::init(format, &config.log_filter)
        .map_err(|error| Failure::usage(format!("log.filter: {error}")))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_stack_size(STACK_BYTES)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(Failure::failed)
}

fn run_edge(path: &Path, seconds: Option<u64>, json: bool) -> Result<(), Failure> {
    let config = load(path)?;
    log(&config)?;
    let exe = std::env::current_exe().map_err(Failure::failed)?;
    let summary = runtime()?
        .block_on(async { tokio::spawn(run::run(config, seconds, exe)).await })
        .map_err(Failure::failed)?
        .map_err(Failure::failed)?;
    if json {
        println!(
            "{}",
            serde_json::to_string(&summary).map_err(Failure::failed)?
        );
    } else {
        println!("{summary}");
    }
    Ok(())
}

fn replay_inputs(
    inputs: &[PathBuf],
    venue: Option<&str>,
    policy: Option<&str>,
    json: bool,
) -> Result<(), Failure> {
    let mut policy = policy
        .map(|text| Setting::from_text(text).and_then(|setting| setting.open()))
        .transpose()
        .map_err(|error| Failure::usage(format!("--policy {error}")))?;
    let found = match venue {
        Some(name) => {
            let venue =
                config::venue(name).map_err(|cause| Failure::usage(format!("--venue {cause}")))?;
            replay::captures(venue, inputs).map_err(Failure::failed)?
        }
        None => replay::journals(the_journal(inputs)?, policy.as_mut()).map_err(Failure::failed)?,
    };
    if json {
        println!(
            "{}",
            serde_json::to_string(&found).map_err(Failure::failed)?
        );
        return Ok(());
    }
    for input in &found.inputs {
        println!("{} ({})", input.path, input.venue);
        for trouble in &input.troubles {
            println!("  ! {trouble}");
        }
        for one in &input.instruments {
            let gaps: u64 = one.gaps.values().sum();
            let best = |levels: &[[String; 2]]| {
                levels
                    .first()
                    .map_or("—".to_owned(), |[price, _]| price.clone())
            };
            println!(
                "  {:24} {:5} {:>14} / {:<14} frames {} events {} trades {} gaps {} resyncs {}",
                one.instrument,
                one.book.state,
                best(&one.book.bids),
                best(&one.book.asks),
                one.frames,
                one.events,
                one.trades,
                gaps,
                one.resyncs,
            );
        }
    }
    if let Some(account) = &found.account {
        println!(
            "equity {} after {} fills ({} as computed, {} not) and {} decisions",
            account.equity,
            account.fills,
            account.fills_equal,
            account.fills_different,
            account.decisions
        );
    }
    println!("state {}", found.state_hash);
    Ok(())
}

/// The journal among inputs that have no venue.
fn the_journal(inputs: &[PathBuf]) -> Result<&Path, Failure> {
    let [journal] = inputs else {
        return Err(Failure::usage(
            "several inputs: name the captures' --venue, or one journal file or folder",
        ));
    };
    let capture = journal.is_file() && journal.extension().is_none_or(|end| end != "tml");
    if capture {
        return Err(Failure::usage(format!(
            "{}: name the capture's --venue (journals end in .tml)",
            journal.display()
        )));
    }
    Ok(journal)
}

fn features(arguments: &Features) -> Result<(), Failure> {
    let group = arguments.group.as_deref().map(catalogue::group).transpose();
    let filter = Filter {
        group: group.map_err(|cause| Failure::usage(format!("--group {cause}")))?,
        selected: arguments.selected,
    };
    if !arguments.evaluate.is_empty() {
        return evaluate(arguments, filter);
    }
    let catalogue = Catalogue::new(filter);
    if arguments.json {
        print(&serde_json::to_string(&catalogue).map_err(Failure::failed)?)
    } else {
        print(&catalogue.to_string())
    }
}

/// Writes what the selected features looked like at the pulses of a journal that are not masked.
fn write_reference(journal: &Path, out: &Path) -> Result<(), Failure> {
    let (mut builder, mut steps) = (ReferenceBuilder::new(), 0_u64);
    replay::steps(journal, |step, _| {
        if !step.masked {
            builder.push_selected(&step.state);
            steps += 1;
        }
        Ok(())
    })
    .map_err(Failure::failed)?;
    if steps == 0 {
        return Err(Failure::failed(format!(
            "{}: no pulse with a live book: name the journal of a longer run",
            journal.display()
        )));
    }
    std::fs::write(out, builder.finish().to_bytes()).map_err(|error| {
        Failure::failed(format!(
            "{}: {error}: --reference must be a file that this user can write",
            out.display()
        ))
    })
}

fn evaluate(arguments: &Features, filter: Filter) -> Result<(), Failure> {
    let inputs = &arguments.evaluate;
    if let Some(out) = &arguments.reference {
        write_reference(the_journal(inputs)?, out)?;
    }
    let places: Vec<usize> = filter.rows().map(|feature| feature.place).collect();
    if places.is_empty() {
        return Err(Failure::usage(
            "--group and --selected leave no feature; drop one of them",
        ));
    }
    let terms = Terms::new(arguments.every_ms, places, arguments.instrument.clone())
        .map_err(|cause| Failure::usage(format!("--every-ms {cause}")))?;
    let mut sampler = Sampler::new(terms);
    let mut before = |engine: &Engine, at: Time| sampler.before(engine, at);
    let found = match &arguments.venue {
        Some(name) => {
            let venue =
                config::venue(name).map_err(|cause| Failure::usage(format!("--venue {cause}")))?;
            replay::watch_captures(venue, inputs, &mut before)
        }
        None => replay::watch_journals(the_journal(inputs)?, &mut before),
    }
    .map_err(Failure::failed)?;
    let samples = sampler.finish();
    if !samples.unknown.is_empty() {
        return Err(Failure::usage(format!(
            "--instrument {}: not in the inputs; there are {}",
            samples.unknown.join(", "),
            samples.listed.join(", ")
        )));
    }
    let of_input = |input: replay::Input| {
        let path = input.path;
        let troubles = input.troubles.into_iter();
        troubles.map(move |trouble| format!("{path}: {trouble}"))
    };
    let troubles = found.inputs.into_iter().flat_map(of_input).collect();
    let report = Report::new(&samples, troubles);
    if !report.says_something() {
        let paths: Vec<_> = inputs
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let remedy = if report.samples == 0 && report.masked > 0 {
            "no book was live: does the capture have its snapshot, or is it in the file before?"
        } else {
            "too few with a return behind them: name a longer tape or a smaller --every-ms"
        };
        return Err(Failure::failed(format!(
            "{}: {} samples: {remedy}",
            paths.join(", "),
            report.samples
        )));
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, chart::svg(&report, arguments.top)).map_err(|error| {
            Failure::failed(format!(
                "{}: {error}: --svg must be a file that this user can write",
                path.display()
            ))
        })?;
    }
    if arguments.json {
        return print(&serde_json::to_string(&report).map_err(Failure::failed)?);
    }
    for trouble in &report.troubles {
        print(&format!("! {trouble}"))?;
    }
    print(report.table(arguments.top).trim_end())
}

fn record_venues(path: &Path, out: &Path, seconds: Option<u64>) -> Result<(), Failure> {
    let config = load(path)?;
    log(&config)?;
    let recorded = runtime()?
        .block_on(record::record(&config, out, seconds))
        .map_err(Failure::failed)?;
    for (path, lines) in &recorded.files {
        println!("{} {lines} lines", path.display());
    }
    if recorded.lost > 0 {
        return Err(Failure::failed(format!(
            "{} lines were lost: the disk is too slow",
            recorded.lost
        )));
    }
    Ok(())
}

fn export_part(source: &Path, out: Option<&Path>, part: &export::Part) -> Result<(), Failure> {
    let exe = std::env::current_exe().map_err(Failure::failed)?;
    let probe = store::Probe::Child(exe);
    let count = export::export(source, out, part, &probe).map_err(Failure::failed)?;
    eprintln!("{count} rows");
    Ok(())
}

fn check(path: &Path, json: bool) -> Result<(), Failure> {
    let config = load(path)?;
    log(&config)?;
    let terms = terms::Terms::of(&config.setup);
    let venues = config.venues.len();
    let instruments = config.setup.instruments.len();
    std::fs::create_dir_all(&config.data_dir)
        .and_then(|()| {
            let probe = config.data_dir.join(".writable");
            std::fs::write(&probe, b"")?;
            std::fs::remove_file(&probe)
        })
        .map_err(|error| {
            let dir = config.data_dir.display();
            Failure::failed(format!(
                "{dir}: {error}: node.data_dir must be a folder that this user can write"
            ))
        })?;
    if json {
        let found = serde_json::json!({
            "venues": venues,
            "instruments": instruments,
            "data_dir": config.data_dir,
            "page": config.listen,
            "config_hash": config.hash,
            "schema_id": tickerml_shared::schema::schema_id().to_string(),
            "terms": terms,
        });
        println!("{found}");
    } else {
        println!(
            "{}: good: {venues} venues, {instruments} instruments",
            path.display()
        );
        println!(
            "data in {}, page at http://{}/",
            config.data_dir.display(),
            config.listen
        );
        println!("{terms}");
    }
    Ok(())
}

fn ask(question: &Ask, running: &Running) -> Result<(), Failure> {
    let config = load(&running.config)?;
    let answer = control::ask(&config.data_dir, question).map_err(Failure::failed)?;
    if running.json && *question != Ask::Status {
        print(&serde_json::json!({ "state": answer }).to_string())
    } else {
        print(&answer)
    }
}

/// Prints a line. A reader that has seen enough is no failure.
fn print(line: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(()),
    }
}
