//! The edge's own process is killed, again and again, while it trades at the simulated venues.
//!
//! Each life is short and random; commands go to the control socket, and what was acknowledged there
//! is remembered. Then SIGKILL, sometimes in the middle of a command; sometimes the journal's newest
//! file loses bytes from its end, or gains garbage. What is left must recover, here by the product's
//! own path and then in the next life: to the fold of the surviving journal, and to the state that was
//! acknowledged last. `TICKERML_KILLS` says how often, `TICKERML_SEED` repeats the draws (not the
//! moments: this is real time).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tickerml_edge::config;
use tickerml_edge::control::{self, Ask};
use tickerml_edge::journal;
use tickerml_edge::recovery;
use tickerml_edge::run::hex;
use tickerml_edge::store::{Probe, State};
use tickerml_shared::engine::Setup;
use tickerml_shared::rand::Rng;

use crate::power::{Base, Remains, Survivors, number_from_environment};

/// Kills, unless `TICKERML_KILLS` says otherwise.
const KILLS: u64 = 200;
/// Kills of one data folder; then a fresh one, so that folding from the beginning stays short.
const KILLS_A_FOLDER: u64 = 25;
/// A life after its first answer, in milliseconds: this and up to so much more.
const LIFE_MS: (u64, u64) = (50, 450);
/// Commands in one life, at most.
const COMMANDS: u64 = 3;
/// What a torn tail loses or gains, in bytes.
const TORN_BYTES: u64 = 2_048;
/// How long a process may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

/// A process of ours; it does not outlive the test.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(program: &str, arguments: &[&str], log: &Path) -> Self {
        let words = File::create(log).expect("writable");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words)
            .spawn()
            .expect("the program was built with this test");
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// SIGKILL, by the process's own number.
    fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it was killed");
    }

    /// Waits for something that the process makes true.
    fn wait_for<T>(&mut self, what: &str, ready: impl Fn() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = ready() {
                return found;
            }
            let ended = self.child.try_wait().expect("it is ours");
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "{what} did not come ({ended:?}):\n{}",
                fs::read_to_string(&self.log).unwrap_or_default()
            );
            sleep(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What has been learned over all kills.
#[derive(Debug, Default)]
struct Counts {
    kills: u64,
    commands: u64,
    /// Kills while a command was under way.
    unanswered: u64,
    /// Journals that lost bytes, and that gained some.
    cut: u64,
    grown: u64,
    /// States compared with a fold from the journal's very beginning.
    from_the_beginning: u64,
    /// Recoveries that found the checkpoint ahead of the journal.
    ahead: u64,
    /// Trading events that only the store still had.
    restored: u64,
    records: u64,
}

struct Bench {
    /// Configuration, certificates and data.
    dir: tempfile::TempDir,
    setup: Setup,
    random: Rng,
    /// Whether trading is halted, by the last word that is certain.
    halted: bool,
    base: Base,
    counts: Counts,
}

/// The question of that name, with a reason where one is needed.
fn question(name: &str) -> Ask {
    let line = match name {
        "resume" => "resume\t\tthe test goes on",
        name => name,
    };
    Ask::from_line(line).expect("a question")
}

impl Bench {
    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn ask(&self, name: &str) -> Result<String, String> {
        control::ask(&self.data(), &question(name))
    }

    fn start_edge(&self) -> Process {
        let config = self.dir.path().join("edge.toml");
        let config = config.to_str().expect("a plain path");
        let edge = env!("CARGO_BIN_EXE_edge-under-test");
        let log = self.dir.path().join("edge.log");
        Process::start(edge, &["run", "--config", config], &log)
    }

    /// One life: it answers with the state that was recovered, takes commands, and is killed.
    /// Returns whether the last command was answered.
    fn live(&mut self) -> bool {
        let mut edge = self.start_edge();
        let status = edge.wait_for("the first answer", || self.ask("status").ok());
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        let halts = status["halts"].as_array().expect("a list");
        assert_eq!(!halts.is_empty(), self.halted, "kill {}", self.counts.kills);
        let (least, more) = LIFE_MS;
        let life = least + self.random.below(more);
        let commands = self.random.below(COMMANDS + 1);
        for _ in 0..commands {
            sleep(Duration::from_millis(life / (commands + 1)));
            self.command();
        }
        sleep(Duration::from_millis(life / (commands + 1)));
        let answered = if self.random.below(4) == 0 {
            self.killed_while_asked(&mut edge)
        } else {
            edge.kill();
            true
        };
        self.counts.kills += 1;
        answered
    }

    /// Halts, resumes, or only looks.
    fn command(&mut self) {
        let name = ["halt", "resume", "status"][self.random.below(3) as usize];
        let answer = self.ask(name).expect("it runs");
        self.counts.commands += 1;
        match name {
            "halt" => assert_eq!(answer, "halted (R40-command)"),
            "resume" => assert_eq!(answer, "trading"),
            _ => return,
        }
        self.halted = name == "halt";
    }

    /// Kills it within a few milliseconds of a command. Returns whether that was answered.
    fn killed_while_asked(&mut self, edge: &mut Process) -> bool {
        let name = if self.halted { "resume" } else { "halt" };
        let delay = Duration::from_micros(self.random.below(8_000));
        let data = self.data();
        let asking = std::thread::spawn(move || control::ask(&data, &question(name)));
        sleep(delay);
        edge.kill();
        let answer = asking.join().expect("no panic");
        if answer.is_ok() {
            self.halted = !self.halted;
        } else {
            self.counts.unanswered += 1;
        }
        answer.is_ok()
    }

    /// What a bad card does to the newest journal file.
    fn tear(&mut self) {
        let days = journal::list_days(&self.data().join("journal")).expect("a folder");
        let (_, path) = days.last().expect("it ran");
        let file = OpenOptions::new().append(true).open(path);
        let mut file = file.expect("writable");
        let bytes = 1 + self.random.below(TORN_BYTES);
        match self.random.below(4) {
            0 => {
                let len = file.metadata().expect("a file").len();
                file.set_len(len.saturating_sub(bytes)).expect("writable");
                self.counts.cut += 1;
            }
            1 => {
                let garbage: Vec<u8> = (0..bytes).map(|_| self.random.next_u32() as u8).collect();
                file.write_all(&garbage).expect("writable");
                self.counts.grown += 1;
            }
            _ => {}
        }
    }

    /// Recovers what is left, without a process, and compares.
    fn check(&mut self, answered: bool) {
        let what = format!("kill {}", self.counts.kills);
        let data = self.data();
        let (mut state, report) = State::open(&data, 0, &Probe::InProcess).expect("unlocked");
        assert_eq!(report.set_aside, None, "{what}: {:?}", report.reason);
        let loaded = state.load().expect("sound");
        drop(state);
        let folder = data.join("journal");
        let days = journal::list_days(&folder).expect("a folder").into_iter();
        let files: BTreeMap<u64, Vec<u8>> = days
            .map(|(day, path)| (day, fs::read(path).expect("readable")))
            .collect();
        let (engine, found) = recovery::recover(self.setup.clone(), &loaded, &folder)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let survivors = Survivors::read(&files);
        let remains = Remains {
            what,
            files,
            loaded,
        };
        let what = &remains.what;
        let start = remains.start(&survivors, &self.base);
        let expected = remains.fold(self.setup.clone(), start, &survivors);
        assert_eq!(
            hex(&engine.state_hash()),
            hex(&expected.state_hash()),
            "{what}: recovery equals the fold of what survives; {found:?}"
        );
        assert_eq!(engine.ledger().check(), Ok(()), "{what}");
        let halted = engine.risk().halted().is_some();
        assert!(
            halted == self.halted || !answered,
            "{what}: halted is {halted}, but {} was acknowledged; {found:?}",
            self.halted
        );
        self.counts.from_the_beginning += u64::from(start.is_none());
        self.counts.restored += found.restored.len() as u64;
        self.counts.records += found.replayed;
        let checkpoint = remains.checkpoint().map_or(0, |(seq, _)| seq);
        if checkpoint > survivors.last() {
            self.counts.ahead += 1;
            self.base = Some((engine.seq(), engine.checkpoint()));
        }
        self.halted = halted;
    }

    fn fresh_folder(&mut self) {
        if self.data().exists() {
            fs::remove_dir_all(self.data()).expect("nobody holds it");
        }
        self.halted = false;
        self.base = None;
    }
}

/// Starts the venues, and writes the configuration of an edge that trades there.
fn open_bench(seed: u64) -> (Process, Bench) {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().to_str().expect("a plain path");
    let template = crate::root().join("config/edge.toml");
    let template = template.to_str().expect("a plain path");
    let sim = env!("CARGO_BIN_EXE_tickerml-sim");
    let text = seed.to_string();
    let log = dir.path().join("sim.log");
    let serve = ["serve", "--out", out, "--seed", &text, "--faults", "demo"];
    let mut venues = Process::start(sim, &serve, &log);
    let addresses = dir.path().join("addresses.json");
    venues.wait_for("the venues' addresses", || addresses.exists().then_some(()));
    // Port 0: the system chooses one that is free.
    let configure = [
        "edge-config",
        "--dir",
        out,
        "--port",
        "0",
        "--template",
        template,
    ];
    let configured = Command::new(sim).args(configure).status().expect("runs");
    assert!(configured.success());
    let setup = config::load(&dir.path().join("edge.toml"));
    let bench = Bench {
        setup: setup.expect("what was just written").setup,
        random: Rng::new(seed, 0x6b69_6c6c),
        halted: false,
        base: None,
        counts: Counts::default(),
        dir,
    };
    (venues, bench)
}

#[test]
fn a_killed_edge_comes_back_as_it_was_acknowledged() {
    let kills = number_from_environment("TICKERML_KILLS").unwrap_or(KILLS);
    let seed = number_from_environment("TICKERML_SEED").unwrap_or(1);
    let (venues, mut bench) = open_bench(seed);
    for kill in 0..kills {
        if kill % KILLS_A_FOLDER == 0 {
            bench.fresh_folder();
        }
        let answered = bench.live();
        bench.tear();
        bench.check(answered);
    }
    println!("seed {seed}: {:?}", bench.counts);
    assert_eq!(bench.counts.kills, kills);
    assert!(bench.counts.from_the_beginning > 0 || kills == 0);
    drop(venues);
}
