//! The edge's own program from outside: what it says to mistakes, and one short life at the simulated
//! venues. Sockets are on loopback and ports are free ones; every wait has a bound and every process
//! that is started here is ended here.

mod features;
mod mistakes;

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tickerml_shared::features::SELECTED;
use tickerml_shared::features::drift::Reference;
use tickerml_sim::capture::Feed;

const EDGE: &str = env!("CARGO_BIN_EXE_edge-under-test");
const SIM: &str = env!("CARGO_BIN_EXE_tickerml-sim");
/// Nothing here takes longer on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// The edge trades for so many seconds when nobody stops it.
const RUN_S: &str = "120";

// --- processes ---------------------------------------------------------------------------------

/// A process that does not outlive its test. Its words go to files, so that no pipe can fill.
struct Process {
    child: Child,
    words: TempDir,
}

/// What a process left.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Process {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let words = tempfile::tempdir().expect("a folder");
        let file = |name| fs::File::create(words.path().join(name)).expect("a file");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("the program is built with the tests");
        Self { child, words }
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.words.path().join(name)).expect("text")
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Asks it to end, as a service manager does.
    fn terminate(&self) {
        let number = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &number]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits until it ends by itself.
    fn end(mut self) -> Ended {
        wait_for("the process ends", || !self.is_running());
        let status = self.child.wait().expect("it has ended");
        Ended {
            code: status.code(),
            out: self.said("out"),
            err: self.said("err"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // By the handle, so by its number; an error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "too long: {what}");
        sleep(LOOK);
    }
}

fn edge(arguments: &[&str]) -> Ended {
    Process::start(EDGE, arguments).end()
}

/// Runs the edge, which must do what it was asked and be silent about it.
fn good(arguments: &[&str]) -> String {
    let ended = edge(arguments);
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(0), ""),
        "{arguments:?}: {ended:?}"
    );
    ended.out
}

/// Runs the edge, which must refuse with this code and say why, and what to do, in one line.
fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    let ended = edge(arguments);
    assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
    assert_eq!(ended.out, "", "{arguments:?}");
    one_line(&ended.err, words);
}

fn one_line(err: &str, words: &[&str]) {
    let line = err.strip_suffix('\n').expect("a whole line");
    assert!(
        line.starts_with("tickerml-edge: ") && !line.contains('\n'),
        "one line: {err}"
    );
    for word in words {
        assert!(line.contains(word), "{word:?} in {line:?}");
    }
}

// --- places ------------------------------------------------------------------------------------

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    listener.local_addr().expect("bound").port()
}

/// Replaces what must be in a file.
fn replace(path: &str, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a file");
    assert!(text.contains(from), "{path} has {from:?}");
    fs::write(path, text.replace(from, to)).expect("a writable folder");
}

/// A folder with a configuration of its own, made from the shipped one.
struct Site {
    folder: TempDir,
    config: PathBuf,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("edge.toml");
        for name in ["edge.toml", "instruments.toml"] {
            let shipped = crate::root().join("config").join(name);
            fs::copy(shipped, folder.path().join(name)).expect("a shipped file");
        }
        let site = Self { folder, config };
        site.replace(
            "edge.toml",
            "data_dir = \"../var/edge\"",
            "data_dir = \"data\"",
        );
        // No venue is reached by a test, not even when a mistake is missed.
        site.replace("edge.toml", "wss://", "wss://127.0.0.1:1/");
        site.replace("edge.toml", "https://", "https://127.0.0.1:1/");
        let listen = format!("listen = \"127.0.0.1:{}\"", free_port());
        site.replace("edge.toml", "listen = \"127.0.0.1:8787\"", &listen);
        site
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        replace(utf8(&self.path(name)), from, to);
    }

    fn config(&self) -> &str {
        utf8(&self.config)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Every file below the folder with its bytes.
    fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut folders = vec![self.folder.path().to_path_buf()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push((path.clone(), fs::read(&path).unwrap_or_default()));
                }
            }
        }
        found.sort();
        found
    }
}

fn fixture(feed: Feed) -> String {
    let folder = crate::root().join("tests/fixtures").join(feed.name());
    utf8(&folder.join("simulated.jsonl")).to_owned()
}

// --- mistakes ----------------------------------------------------------------------------------

#[test]
fn every_mistake_in_the_configuration_is_one_line_and_touches_nothing() {
    for (file, from, to, words) in mistakes::MISTAKES {
        let site = Site::new();
        site.replace(file, from, to);
        let before = site.contents();
        for command in [&["check"][..], &["run", "--for", "1"]] {
            let arguments = [command, &["--config", site.config()]].concat();
            refused(&arguments, 2, words);
        }
        assert_eq!(site.contents(), before, "{to}: nothing was touched");
    }
    for command in ["run", "check", "status", "halt", "resume", "flatten"] {
        let arguments = [&[command, "--config", "/nowhere/edge.toml"], why(command)].concat();
        refused(&arguments, 2, &["/nowhere/edge.toml", "--config"]);
    }
    let record = [
        "record",
        "--out",
        "/nowhere",
        "--config",
        "/nowhere/edge.toml",
    ];
    refused(&record, 2, &["/nowhere/edge.toml", "--config"]);
}

#[test]
fn an_unreadable_input_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| utf8(&folder.path().join(name)).to_owned();
    let noise: Vec<u8> = (0..9999_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8)
        .collect();
    for name in ["noise", "noise.tml", "noise.jsonl.zst"] {
        fs::write(path(name), &noise).expect("written");
    }
    fs::write(path("empty.tml"), b"").expect("written");
    fs::create_dir(path("folder")).expect("made");
    for name in [
        "no.jsonl",
        "noise",
        "noise.jsonl.zst",
        "folder",
        "empty.tml",
    ] {
        let remedy = if name.starts_with("noise") || name.starts_with("empty") {
            "is --venue right?"
        } else {
            "that this user can read?"
        };
        refused(
            &["replay", &path(name), "--venue", "kraken"],
            1,
            &[&path(name), remedy],
        );
    }
    for name in ["noise.tml", "empty.tml", "folder", "no.tml"] {
        refused(&["replay", &path(name)], 1, &[&path(name), "journal"]);
    }
    refused(&["replay", &path("noise")], 2, &[&path("noise"), "--venue"]);
    refused(
        &["replay", &path("noise"), "--venue", "krakn"],
        2,
        &["krakn", "known are"],
    );
    refused(
        &["replay", &path("folder"), "--policy", "magic"],
        2,
        &["magic", "imbalance"],
    );
    refused(
        &["replay", &path("noise"), &path("folder")],
        2,
        &["--venue"],
    );
}

#[test]
fn wrong_usage_ends_with_two() {
    for arguments in [
        &[][..],
        &["trade"],
        &["run"],
        &["run", "--for", "soon"],
        &["replay"],
    ] {
        let ended = edge(arguments);
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(ended.err.contains("--help"), "{}", ended.err);
    }
    assert!(good(&["--help"]).contains("replay"));
    assert!(good(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_data_folder_that_cannot_be_written_is_refused() {
    let site = Site::new();
    // Below a file no user can make a folder.
    fs::write(site.path("file"), b"x").expect("written");
    site.replace(
        "edge.toml",
        "data_dir = \"data\"",
        "data_dir = \"file/data\"",
    );
    let before = site.contents();
    let config = ["--config", site.config()];
    for command in [&["run", "--for", "1"][..], &["check"]] {
        refused(
            &[command, &config].concat(),
            1,
            &["file/data", "node.data_dir"],
        );
    }
    let out = site.path("file/captures");
    let record = [
        "record",
        "--for",
        "1",
        "--out",
        utf8(&out),
        "--config",
        site.config(),
    ];
    refused(&record, 1, &["file/captures", "--out"]);
    assert_eq!(site.contents(), before);
}

#[test]
fn a_port_in_use_is_refused() {
    let site = Site::new();
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let port = held.local_addr().expect("bound").port();
    let text = fs::read_to_string(&site.config).expect("a file");
    let listen = text
        .lines()
        .find(|line| line.starts_with("listen"))
        .expect("a key");
    site.replace(
        "edge.toml",
        listen,
        &format!("listen = \"127.0.0.1:{port}\""),
    );
    let config = site.config();
    refused(
        &["run", "--for", "1", "--config", config],
        1,
        &["page.listen", "free the port"],
    );
    assert!(!site.path("data/state.redb").exists(), "no state was made");
}

/// The reason that a command needs, as arguments.
fn why(command: &str) -> &'static [&'static str] {
    if command == "resume" {
        &["--reason", "the test goes on"]
    } else {
        &[]
    }
}

#[test]
fn a_command_to_an_edge_that_does_not_run_says_so() {
    let site = Site::new();
    for command in ["status", "halt", "resume", "flatten"] {
        let words = ["control.sock", "is `tickerml-edge run` running"];
        let arguments = [&[command, "--config", site.config()], why(command)].concat();
        refused(&arguments, 1, &words);
        refused(&[&arguments[..], &["--json"]].concat(), 1, &words);
    }
    assert!(!site.path("data").exists());
}

// --- what works without venues -----------------------------------------------------------------

#[test]
fn check_says_what_it_found() {
    let site = Site::new();
    let words = good(&["check", "--config", site.config()]);
    assert!(words.contains("4 venues, 16 instruments"), "{words}");
    let out = good(&["check", "--json", "--config", site.config()]);
    let found: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (found["venues"].as_u64(), found["instruments"].as_u64()),
        (Some(4), Some(16))
    );
    for key in ["config_hash", "schema_id"] {
        assert_eq!(found[key].as_str().map(str::len), Some(64), "{key}");
    }
    assert_terms(&found["terms"], &words);
    assert_eq!(
        fs::read_dir(site.path("data")).expect("a folder").count(),
        0,
        "nothing stays"
    );
}

/// Limits and costs, in the report and in the table.
fn assert_terms(terms: &Value, words: &str) {
    let of = |list: &str, name: &str| {
        let rows = terms[list].as_array().expect("a list");
        let row = rows.iter().find(|row| row["name"] == name);
        row.unwrap_or_else(|| panic!("{name} in {list}: {terms}"))
            .clone()
    };
    let halt = of("limits", "drawdown_halt_bps");
    assert_eq!(
        (&halt["value"], &halt["unit"]),
        (&"2500".into(), &"bps".into())
    );
    assert_eq!(of("limits", "min_order")["value"], "10");
    assert_eq!(of("sectors", "meme")["cap_bps"], 1_000);
    assert_eq!(of("execution", "tactic")["value"], "make");
    assert_eq!(of("paper", "consumption_ms")["value"], "2000");
    let venues = terms["venues"].as_array().expect("a list");
    assert_eq!(venues.len(), 4);
    let kraken = venues.iter().find(|venue| venue["venue"] == "kraken");
    let kraken = kraken.expect("a venue of the shipped configuration");
    assert_eq!(
        (&kraken["latency"], &kraken["queue_model"]),
        (&"measured".into(), &"log2".into())
    );
    assert_eq!(kraken["fees"][1]["taker_ppm"], 3_500);
    for limit in terms["limits"].as_array().expect("a list") {
        let name = limit["name"].as_str().expect("a name");
        let value = limit["value"].as_str().expect("a value");
        let line = words
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("{name} in {words}"));
        assert!(line.contains(&format!(" {value} ")), "{value} in {line:?}");
    }
    assert!(words.contains("maker 0.25 %, taker 0.4 %"), "{words}");
}

#[test]
fn a_replay_says_the_same_in_every_process() {
    for feed in Feed::ALL {
        let path = fixture(feed);
        let arguments = ["replay", "--json", "--venue", feed.name(), &path];
        let first = good(&arguments);
        assert_eq!(good(&arguments), first, "{feed:?}");
        let replay: Value = serde_json::from_str(&first).expect("JSON");
        crate::captures::check_contract(&replay);
        let hash = replay["state_hash"].as_str().expect("a hash");
        let words = good(&["replay", "--venue", feed.name(), &path]);
        assert!(
            words.contains(hash) && words.matches(" live ").count() == 2,
            "{words}"
        );
    }
}

// --- a short life ------------------------------------------------------------------------------

/// The simulated venues, and a configuration for an edge that trades there.
struct Market {
    folder: TempDir,
    port: u16,
    _venues: Process,
}

impl Market {
    fn open(seed: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut venues = Process::start(
            SIM,
            &["serve", "--out", utf8(folder.path()), "--seed", seed],
        );
        wait_for("the venues listen", || {
            assert!(venues.is_running(), "{}", venues.said("err"));
            venues.said("out").starts_with("ready ")
        });
        let port = free_port();
        let template = crate::root().join("config/edge.toml");
        let made = Process::start(
            SIM,
            &[
                "edge-config",
                "--dir",
                utf8(folder.path()),
                "--port",
                &port.to_string(),
                "--template",
                utf8(&template),
            ],
        );
        let made = made.end();
        assert_eq!(made.code, Some(0), "{made:?}");
        Self {
            folder,
            port,
            _venues: venues,
        }
    }

    fn path(&self, name: &str) -> String {
        utf8(&self.folder.path().join(name)).to_owned()
    }

    fn config(&self) -> String {
        self.path("edge.toml")
    }

    /// Takes an instrument out of the table: the fourth snapshot from Binance.US comes only after
    /// five seconds, because the venue counts requests.
    fn leave_out(&self, venue: &str, symbol: &str) {
        let path = self.path("instruments.toml");
        let table = fs::read_to_string(&path).expect("a file");
        let (venue, symbol) = (
            format!("venue = \"{venue}\""),
            format!("symbol = \"{symbol}\""),
        );
        let is_other = |entry: &&str| !(entry.contains(&venue) && entry.contains(&symbol));
        let entries: Vec<_> = table.split("[[instrument]]").filter(is_other).collect();
        fs::write(path, entries.join("[[instrument]]")).expect("a writable folder");
    }

    /// Status and body of a page's address; nothing while nobody listens.
    fn get(&self, target: &str) -> Option<(u16, String)> {
        let mut stream = match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return None,
            Err(error) => panic!("{target}: {error}"),
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Some((status.expect("a status"), body.to_owned()))
    }

    fn status(&self) -> Value {
        let out = good(&["status", "--config", &self.config()]);
        serde_json::from_str(&out).expect("JSON")
    }

    /// Waits until all sixteen books are live, and gives the status that says so.
    fn wait_for_books(&self, edge: &mut Process) {
        wait_for("all books are live", || {
            assert!(edge.is_running(), "{}", edge.said("err"));
            let answer = self
                .get("/api/v1/status")
                .filter(|(status, _)| *status == 200);
            answer.is_some_and(|(_, body)| {
                let status: Value = serde_json::from_str(&body).expect("JSON");
                let books = status["books"].as_array().expect("books");
                books.len() == 16 && books.iter().all(|book| book["live"] == true)
            })
        });
    }
}

#[test]
fn an_edge_trades_is_operated_and_leaves_a_journal_that_replays() {
    let market = Market::open("5");
    let config = market.config();
    // Ten decisions a second, so that the first fill comes soon after the slowest feature is there.
    replace(&config, "pulse_ms = 1000", "pulse_ms = 100");
    replace(&config, "every_s = 5 ", "every_s = 1 ");
    let mut edge = Process::start(
        EDGE,
        &["run", "--json", "--for", RUN_S, "--config", &config],
    );
    market.wait_for_books(&mut edge);
    assert_pages(&market);
    // Another one on the same data folder is refused; this one does not notice.
    refused(
        &["run", "--for", "1", "--config", &config],
        1,
        &["in use by process", "stop the other"],
    );
    assert!(edge.is_running());
    assert_operated(&market);
    wait_for("a fill", || {
        assert!(edge.is_running(), "{}", edge.said("err"));
        market.status()["fills"]
            .as_array()
            .is_some_and(|fills| !fills.is_empty())
    });
    let flattened = good(&["flatten", "--config", &config]);
    assert!(flattened.starts_with("halted"), "{flattened}");
    wait_for("every position is closed", || {
        market.status()["positions"]
            .as_array()
            .is_some_and(Vec::is_empty)
    });
    edge.terminate();
    let summary = summary_of(edge.end());
    assert_eq!(
        summary["books_live"],
        serde_json::json!([16, 16]),
        "{summary}"
    );
    assert!(summary["fills"].as_u64() > Some(1), "in and out: {summary}");
    assert_eq!(summary["overflowed"].as_u64(), Some(0), "{summary}");
    assert_eq!(
        summary["journal"][2].as_u64(),
        Some(0),
        "nothing dropped: {summary}"
    );
    assert_features_exported(&market, &summary);
    let journal = market.path("data/journal");
    let replay = replay_of(&journal, &summary);
    let account = &replay["account"];
    assert_eq!(account["decisions"], summary["decisions"]);
    assert_eq!(
        (&account["fills"], &account["equity"]),
        (&summary["fills"], &summary["equity"])
    );
    // Started again, it takes up where it was, and ends by itself when its time is over.
    let again = summary_of(
        Process::start(EDGE, &["run", "--json", "--for", "1", "--config", &config]).end(),
    );
    assert_ne!(again["state_hash"], summary["state_hash"]);
    replay_of(&journal, &again);
}

/// The summary of a run that ended well.
fn summary_of(ended: Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.out).expect("JSON")
}

/// Runs an export, which says on stderr how many rows it wrote.
fn exported(arguments: &[&str]) -> String {
    let ended = edge(arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.err);
    assert!(ended.err.ends_with(" rows\n"), "{}", ended.err);
    ended.out
}

/// What a run stored of the features is exported whole, in both forms, and a journal's steps too.
fn assert_features_exported(market: &Market, summary: &Value) {
    let [Some(vectors), Some(bytes), Some(0)] = [0, 1, 2].map(|i| summary["features"][i].as_u64())
    else {
        panic!("vectors, bytes, none dropped: {summary}");
    };
    println!("{} bytes a vector", bytes / vectors.max(1));
    let store = market.path("data/features.redb");
    let lines = exported(&["export", &store]);
    assert_eq!(lines.lines().count() as u64, vectors, "{summary}");
    let line: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    let count = line["features"].as_object().expect("features").len();
    assert_eq!(count, tickerml_shared::features::TABLE_LEN);
    for source in [&store, &market.path("data/journal")] {
        let table = market.path("table.parquet");
        exported(&["export", source, "--out", &table]);
        let bytes = fs::read(&table).expect("a table");
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    }
    let (journal, out) = (market.path("data/journal"), market.path("reference.bin"));
    // The run is too short for a return, but not for what features looked like.
    edge(&["features", "--evaluate", &journal, "--reference", &out]);
    let reference = Reference::from_bytes(&fs::read(&out).expect("written")).expect("a reference");
    let known = SELECTED
        .iter()
        .filter(|place| reference.get(**place).is_some());
    assert!(known.count() > 10, "what a model sees of a live book");
    let one = ["export", &store, "--instrument", "kraken:nothing"];
    refused(
        &one,
        1,
        &["kraken:nothing", "write --instrument with one of"],
    );
    let version = ["export", &store, "--version", "zz"];
    refused(&version, 1, &["version zz is none", "write --version"]);
    refused(
        &["export", &store, "--from", "noon"],
        2,
        &["--from", "write 2026-01-31"],
    );
}

/// Replays a journal, which must give the state that its last run ended with.
fn replay_of(journal: &str, summary: &Value) -> Value {
    let replay = good(&["replay", "--json", journal]);
    assert_eq!(
        good(&["replay", "--json", journal]),
        replay,
        "in two processes"
    );
    let replay: Value = serde_json::from_str(&replay).expect("JSON");
    crate::captures::check_contract(&replay);
    assert_eq!(
        replay["state_hash"], summary["state_hash"],
        "the journal is the run"
    );
    assert_eq!(replay["inputs"][0].get("troubles"), None, "{replay}");
    assert_eq!(
        replay["account"]["fills_different"].as_u64(),
        Some(0),
        "{replay}"
    );
    replay
}

fn assert_pages(market: &Market) {
    for (target, words) in [
        ("/ready", "\"ready\":true"),
        ("/health", "\"status\":\"ok\""),
        ("/metrics", "# TYPE tickerml_"),
        ("/api/v1/status", "\"mode\":\"PAPER\""),
        ("/", "PAPER"),
    ] {
        let (status, body) = market.get(target).expect("the edge listens");
        assert_eq!(status, 200, "{target}: {body}");
        assert!(body.contains(words), "{words:?} in {target}: {body}");
    }
}

/// Halts, looks from every side, and resumes.
fn assert_operated(market: &Market) {
    let config = market.config();
    assert_eq!(market.status()["health"]["halted"], false);
    let halted = good(&["halt", "--config", &config]);
    assert!(halted.starts_with("halted"), "{halted}");
    let status = market.status();
    assert_eq!(status["health"]["halted"], true);
    assert_eq!(
        status["halts"].as_array().map(Vec::len),
        Some(1),
        "{}",
        status["halts"]
    );
    // The page is renewed twice a second.
    wait_for("the page knows", || {
        matches!(market.get("/health"), Some((503, _)))
    });
    let (_, body) = market.get("/health").expect("it listens");
    assert!(body.contains("\"halted\":true"), "{body}");
    assert_eq!(
        market.get("/ready").map(|(status, _)| status),
        Some(200),
        "halted, not gone"
    );
    let resume = ["resume", "--json", "--config", &config];
    let resumed = good(&[&resume[..], why("resume")].concat());
    assert_eq!(resumed.trim_end(), r#"{"state":"trading"}"#);
    assert_eq!(market.status()["health"]["halted"], false);
    wait_for("the page knows", || {
        matches!(market.get("/health"), Some((200, _)))
    });
}

#[test]
fn what_is_recorded_replays_without_a_gap() {
    let market = Market::open("6");
    let (config, folder) = (market.config(), market.path("captures"));
    market.leave_out("binance-us", "XRPUSDT");
    let ended = edge(&[
        "record", "--for", "4", "--out", &folder, "--config", &config,
    ]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert_eq!(ended.out.lines().count(), files.len(), "{}", ended.out);
    let mut venues = Vec::new();
    for path in &files {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        // <venue>-<UTC stamp>.jsonl.zst; a run over the full hour leaves two of a venue.
        let (venue, stamp) = name.rsplit_once('-').expect("a stamp");
        assert!(stamp.ends_with("Z.jsonl.zst"), "{name}");
        if !venues.contains(&venue) {
            venues.push(venue);
        }
    }
    assert_eq!(
        venues,
        ["binance-us", "coinbase-advanced", "kraken", "kucoin-uta"]
    );
    for venue in venues {
        let of_venue = |path: &&PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.and_then(|name| name.rsplit_once('-'))
                .is_some_and(|(named, _)| named == venue)
        };
        let paths: Vec<_> = files
            .iter()
            .filter(of_venue)
            .map(|path| utf8(path))
            .collect();
        let arguments = [&["replay", "--json", "--venue", venue], &paths[..]].concat();
        let replay: Value = serde_json::from_str(&good(&arguments)).expect("JSON");
        crate::captures::check_contract(&replay);
        for input in replay["inputs"].as_array().expect("inputs") {
            assert_eq!(input.get("troubles"), None, "{input}");
            let instruments = input["instruments"].as_array().expect("instruments");
            assert_eq!(
                instruments.len(),
                if venue == "binance-us" { 3 } else { 4 },
                "{venue}"
            );
            for one in instruments {
                assert_eq!(one["book"]["state"], "live", "{one}");
                let gaps = one["gaps"].as_object().expect("gaps");
                assert!(
                    gaps.values().all(|count| count.as_u64() == Some(0)),
                    "{one}"
                );
                assert_eq!(one["bbo_checks"]["different"].as_u64(), Some(0), "{one}");
            }
        }
    }
}
