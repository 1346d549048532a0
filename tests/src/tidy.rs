//! Rules of the house that no compiler knows. Each failure names the file, the line and the remedy.
//!
//! The rules read source as text (`source.rs`), so they see names and not types: `clippy.toml` bans by type
//! what can be banned so.
//!
//! The allow-lists are constants with reasons. Lengthening one is a decision to be seen in review.

mod source;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use source::{
    Source, code_files, functions, in_rooms, line_of, products, read, root, rust, text_files,
    word_positions, words_between,
};

// --- the tables: what is allowed where, and why -----------------------------------------------

/// The one file that may read the OS clock.
const CLOCK_ROOM: &str = "edge/src/clock.rs";

/// Where `shared` may hold floats. Money, prices and quantities are integers everywhere else.
const FLOAT_ROOMS: &[(&str, &str)] = &[
    (
        "shared/src/features/",
        "features are the model's input: the only way from ticks to floats",
    ),
    (
        "shared/src/window.rs",
        "holds the features of a step as the model reads them",
    ),
    (
        "shared/src/action.rs",
        "the model's heads: logits, position size and risk in [0, 1]",
    ),
    (
        "shared/src/bundle.rs",
        "what normalises a model's inputs, and the answers that it must give",
    ),
    ("shared/src/reward.rs", "logarithms of equity ratios"),
    (
        "shared/src/paper/queue",
        "an estimate of what nobody can know, in the arithmetic of its reference",
    ),
    (
        "shared/src/paper/latency.rs",
        "interpolates recorded latencies in the arithmetic of its reference",
    ),
    (
        "shared/src/risk/correlation.rs",
        "statistics of returns; limits on money are integers",
    ),
    (
        "shared/src/risk/gate/properties.rs",
        "an oracle of the gate's tests, apart from the gate's own integers",
    ),
    (
        "shared/src/risk/breakers.rs",
        "statistics of returns; limits on money are integers",
    ),
    (
        "shared/src/performance.rs",
        "statistics of returns, for reports only",
    ),
    ("shared/src/policy", "reads the features of the window"),
    (
        "shared/src/trajectory.rs",
        "carries steps as the model is trained on them",
    ),
];

/// Where the edge may know JSON. Everywhere else a venue's message is already an event.
const JSON_ROOMS: &[(&str, &str)] = &[
    ("edge/src/venue/", "the venues' dialects"),
    ("edge/src/web/", "the JSON API of the status page"),
    ("edge/src/web.rs", "the JSON API of the status page"),
    ("edge/src/main.rs", "what commands print under --json"),
    ("edge/src/cli/", "what commands print under --json"),
    ("edge/src/cli.rs", "what commands print under --json"),
    ("edge/src/export", "the rows of `export`"),
    ("edge/src/replay", "the report of `replay --json`"),
    ("trainer/src/history", "the ledger of what was imported"),
    (
        "trainer/src/report/training.rs",
        "reads the metrics of a training",
    ),
    ("trainer/src/search/journal.rs", "the journal of a search"),
    ("trainer/src/split.rs", "what `splits --json` prints"),
    ("trainer/src/train.rs", "the metrics of a training"),
    (
        "trainer/src/weights.rs",
        "facts beside weights, and verdicts",
    ),
];

/// Lines that a function may have before it must be cut, or be listed here.
const FUNCTION_LINES_MAX: usize = 120;
/// Longer functions: file, name and a ceiling. A ceiling may be lowered, never raised.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Lines that a file may have before it must be cut, or be listed here.
const FILE_LINES_MAX: usize = 900;
/// Longer files with a ceiling. A ceiling may be lowered, never raised.
const LONG_FILES: &[(&str, usize)] = &[("tests/sim/world.rs", 951)];

/// A listed function or file may fall this far below its ceiling before the ceiling must follow.
const RATCHET_SLACK_LINES: usize = 20;

// --- the rules --------------------------------------------------------------------------------

#[test]
fn only_the_clock_room_reads_the_clock() {
    let mut findings = Findings::default();
    for source in products().filter(|source| source.name != CLOCK_ROOM) {
        for banned in [
            "Instant::now",
            "SystemTime::now",
            "Utc::now",
            "UNIX_EPOCH.elapsed",
        ] {
            findings.add_all(
                &source,
                &source.code,
                banned,
                "take the time as an argument",
            );
        }
    }
    findings.check();
}

#[test]
fn every_channel_is_bounded() {
    let mut findings = Findings::default();
    for source in rust() {
        for banned in ["unbounded_channel", "mpsc::unbounded", "UnboundedSender"] {
            let remedy = "use a bounded channel; overflow is a Gap in the edge, an error elsewhere";
            findings.add_all(&source, &source.code, banned, remedy);
        }
    }
    findings.check();
}

#[test]
fn shared_is_pure() {
    let mut findings = Findings::default();
    for source in rust().filter(|source| source.name.starts_with("shared/src/")) {
        let code = source.shipped_code();
        for (banned, remedy) in [
            (
                "HashMap",
                "its order differs from run to run: use BTreeMap or a sorted array",
            ),
            (
                "HashSet",
                "its order differs from run to run: use BTreeSet or a sorted array",
            ),
            (
                "std::",
                "shared is no_std: use core, alloc, or move the line to edge",
            ),
            (
                "async fn",
                "shared waits for nothing: return a value and let edge wait",
            ),
        ] {
            findings.add_all(&source, &code, banned, remedy);
        }
    }
    findings.check();
}

#[test]
fn floats_keep_to_their_rooms() {
    let mut findings = Findings::default();
    for source in rust().filter(|source| source.name.starts_with("shared/src/")) {
        if in_rooms(&source.name, FLOAT_ROOMS) {
            continue;
        }
        let code = source.shipped_code();
        for banned in ["f32", "f64"] {
            let remedy = "use the integer types of shared/src/num.rs, or list the file in FLOAT_ROOMS with its reason";
            findings.add_all(&source, &code, banned, remedy);
        }
    }
    findings.check();
}

#[test]
fn venues_touch_neither_sockets_nor_files() {
    let mut findings = Findings::default();
    for source in rust().filter(|source| source.name.starts_with("edge/src/venue/")) {
        let code = source.shipped_code();
        for banned in [
            "tokio",
            "std::net",
            "std::fs",
            "std::io",
            "std::thread",
            "async fn",
        ] {
            let remedy =
                "a session takes bytes and times and returns values; edge/src/net moves the bytes";
            findings.add_all(&source, &code, banned, remedy);
        }
    }
    findings.check();
}

#[test]
fn json_keeps_to_its_rooms() {
    let mut findings = Findings::default();
    for source in products().filter(|source| !in_rooms(&source.name, JSON_ROOMS)) {
        let code = source.shipped_code();
        let remedy = "turn the message into events under edge/src/venue, or list the file in JSON_ROOMS with its reason";
        findings.add_all(&source, &code, "serde_json", remedy);
    }
    findings.check();
}

#[test]
fn nothing_is_left_for_later() {
    let mut findings = Findings::default();
    for source in rust() {
        for banned in [concat!("todo", "!"), concat!("unimplemented", "!")] {
            findings.add_all(
                &source,
                &source.code,
                banned,
                "write it, or take the call away",
            );
        }
        let ignored = concat!("#[", "ignore");
        findings.add_all(&source, &source.code, ignored, "mend the test or delete it");
    }
    for source in code_files() {
        for banned in [concat!("FIX", "ME"), concat!("XX", "X")] {
            findings.add_all(
                &source,
                &source.text,
                banned,
                "mend it now, or say in a sentence what is not done",
            );
        }
    }
    findings.check();
}

#[test]
fn no_code_knows_the_machine_it_was_written_on() {
    let mut findings = Findings::default();
    for source in code_files() {
        for banned in [
            concat!("/ro", "ot/"),
            concat!("/wo", "rk/"),
            concat!("/ho", "me/"),
            concat!("/Us", "ers/"),
        ] {
            findings.add_all(
                &source,
                &source.text,
                banned,
                "use a path relative to the repository, or an argument",
            );
        }
        let registry = concat!("crates", ".io");
        findings.add_all(
            &source,
            &source.text,
            registry,
            "cargo knows its registry; say what the code needs instead",
        );
    }
    findings.check();
}

#[test]
fn every_file_of_the_products_says_what_it_is() {
    let mut findings = Findings::default();
    for source in products() {
        let first = source
            .text
            .lines()
            .find(|line| !line.starts_with("#![") && !line.trim().is_empty());
        if !first.is_some_and(|line| line.starts_with("//!")) {
            findings.add(
                &source.name,
                1,
                "no `//!` at the head",
                "open with what the file is for, and what it does not do",
            );
        }
    }
    findings.check();
}

#[test]
fn functions_stay_short() {
    let mut findings = Findings::default();
    let mut seen = vec![false; LONG_FUNCTIONS.len()];
    for source in rust() {
        for function in functions(&source.code) {
            let listed = LONG_FUNCTIONS
                .iter()
                .position(|(file, name, _)| *file == source.name && *name == function.name);
            let ceiling = match listed {
                Some(index) => {
                    seen[index] = true;
                    LONG_FUNCTIONS[index].2
                }
                None => FUNCTION_LINES_MAX,
            };
            let what = format!(
                "`{}` has {} lines, at most {ceiling}",
                function.name, function.lines
            );
            if function.lines > ceiling {
                findings.add(
                    &source.name,
                    function.line,
                    &what,
                    "cut it into leaf functions",
                );
            } else if listed.is_some() && function.lines + RATCHET_SLACK_LINES < ceiling {
                findings.add(
                    &source.name,
                    function.line,
                    &what,
                    "lower its ceiling in LONG_FUNCTIONS, or take it off",
                );
            }
        }
    }
    for ((file, name, _), seen) in LONG_FUNCTIONS.iter().zip(seen) {
        if !seen {
            findings.add(
                file,
                1,
                &format!("no function `{name}`"),
                "take it off LONG_FUNCTIONS",
            );
        }
    }
    findings.check();
}

#[test]
fn files_stay_short() {
    let mut findings = Findings::default();
    let mut seen = vec![false; LONG_FILES.len()];
    for source in rust() {
        let lines = source.text.lines().count();
        let listed = LONG_FILES.iter().position(|(file, _)| *file == source.name);
        let ceiling = match listed {
            Some(index) => {
                seen[index] = true;
                LONG_FILES[index].1
            }
            None => FILE_LINES_MAX,
        };
        let what = format!("{lines} lines, at most {ceiling}");
        if lines > ceiling {
            findings.add(
                &source.name,
                lines,
                &what,
                "is it still one room? Cut it where it talks least",
            );
        } else if listed.is_some() && lines + RATCHET_SLACK_LINES < ceiling {
            findings.add(
                &source.name,
                lines,
                &what,
                "lower its ceiling in LONG_FILES, or take it off",
            );
        }
    }
    for ((file, _), seen) in LONG_FILES.iter().zip(seen) {
        if !seen {
            findings.add(file, 1, "no such file", "take it off LONG_FILES");
        }
    }
    findings.check();
}

#[test]
fn lines_end_cleanly() {
    let mut findings = Findings::default();
    for source in text_files() {
        for (index, line) in source.text.lines().enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                findings.add(
                    &source.name,
                    index + 1,
                    "white space at the end of the line",
                    "take it away",
                );
            }
        }
        if !source.text.is_empty() && !source.text.ends_with('\n') {
            let last = source.text.lines().count();
            findings.add(
                &source.name,
                last,
                "no newline at the end of the file",
                "add one",
            );
        }
    }
    findings.check();
}

#[test]
fn scripts_run() {
    let mut findings = Findings::default();
    let mut scripts: Vec<String> = text_files()
        .map(|source| source.name)
        .filter(|name| name.starts_with("scripts/"))
        .collect();
    scripts.push(".ci/run".to_owned());
    for name in ["scripts/run", "scripts/test", "scripts/cross"] {
        assert!(
            scripts.iter().any(|script| script == name),
            "{name} is missing: the README promises it"
        );
    }
    for name in scripts {
        let path = root().join(&name);
        let mode = fs::metadata(&path)
            .expect("a listed script is there")
            .permissions()
            .mode();
        // lib.sh is sourced, never run.
        if name != "scripts/lib.sh" && mode & 0o111 == 0 {
            findings.add(&name, 1, "no run bit", "chmod +x it");
        }
        let parsed = Command::new("bash")
            .arg("-n")
            .arg(&path)
            .output()
            .expect("bash is there, as the scripts need it");
        if !parsed.status.success() {
            findings.add(
                &name,
                1,
                &String::from_utf8_lossy(&parsed.stderr),
                "mend the syntax",
            );
        }
    }
    findings.check();
}

#[test]
fn every_toml_file_parses() {
    let mut findings = Findings::default();
    for source in text_files().filter(|source| source.name.ends_with(".toml")) {
        if let Err(error) = source.text.parse::<toml::Table>() {
            let line = error
                .span()
                .map_or(1, |span| line_of(&source.text, span.start));
            findings.add(&source.name, line, error.message(), "mend the TOML");
        }
    }
    findings.check();
}

#[test]
fn the_readme_starts_with_the_two_commands() {
    let readme = read("README.md");
    let head: String = readme.lines().take(20).collect::<Vec<_>>().join("\n");
    for command in ["./scripts/run", "./scripts/test"] {
        assert!(
            head.contains(command),
            "README.md:1: {command} is not within the first 20 lines: move it up"
        );
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut findings = Findings::default();
    for source in text_files().filter(|source| source.name.ends_with(".md")) {
        let folder = root()
            .join(&source.name)
            .parent()
            .expect("a file lies in a folder")
            .to_owned();
        for (index, line) in source.text.lines().enumerate() {
            for target in line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
            {
                let file = target.split('#').next().unwrap_or_default();
                let elsewhere =
                    file.is_empty() || file.contains("://") || file.starts_with("mailto:");
                if !elsewhere && !folder.join(file).exists() {
                    findings.add(
                        &source.name,
                        index + 1,
                        &format!("no file {file}"),
                        "mend the link",
                    );
                }
            }
        }
    }
    findings.check();
}

/// shared ← edge ← trainer: nothing points back, and products know nothing of tests and benches.
#[test]
fn the_crates_stand_on_a_straight_line() {
    for (crate_name, allowed) in [
        ("shared", &[][..]),
        ("edge", &["tickerml-shared"]),
        ("trainer", &["tickerml-shared", "tickerml-edge"]),
    ] {
        let manifest: toml::Table = read(&format!("{crate_name}/Cargo.toml"))
            .parse()
            .expect("cargo reads it, so it parses");
        let dependencies = manifest["dependencies"]
            .as_table()
            .expect("[dependencies] is a table");
        for name in dependencies
            .keys()
            .filter(|name| name.starts_with("tickerml-"))
        {
            assert!(
                allowed.contains(&name.as_str()),
                "{crate_name}/Cargo.toml: {crate_name} depends on {name}, which turns the line shared ← edge ← trainer \
                 back: move the code to the crate that both know"
            );
        }
    }
}

/// The container of `cross` and scripts/cross must build with the same compiler, or they are two products.
#[test]
fn cross_builds_with_the_same_packages_in_and_out_of_its_container() {
    let script = read("scripts/cross");
    let in_script = words_between(&script, "PACKAGES=(", ")");
    let dockerfile = read("deploy/cross.Dockerfile");
    let in_container = words_between(&dockerfile, "--no-install-recommends", "&&");
    assert!(in_script.len() >= 2, "scripts/cross: no PACKAGES=(…) found");
    assert_eq!(
        in_script, in_container,
        "scripts/cross and deploy/cross.Dockerfile install different packages: write the same list in both"
    );
}

/// cross 0.2.5, the newest release, ignores or refuses what later development versions read.
#[test]
fn cross_toml_is_what_the_released_cross_reads() {
    let manifest: toml::Table = read("Cross.toml").parse().expect("Cross.toml is TOML");
    let target = &manifest["target"]["aarch64-unknown-linux-gnu"];
    let dockerfile = target["dockerfile"]
        .as_str()
        .expect("Cross.toml: dockerfile is a path");
    assert!(
        root().join(dockerfile).is_file(),
        "Cross.toml: there is no {dockerfile}"
    );
    for (name, target) in manifest["target"].as_table().expect("[target] is a table") {
        for (key, value) in target.as_table().expect("a target is a table") {
            let known = [
                "xargo",
                "build-std",
                "image",
                "runner",
                "dockerfile",
                "pre-build",
                "env",
            ];
            assert!(
                known.contains(&key.as_str()),
                "Cross.toml: cross 0.2.5 does not know target.{name}.{key}"
            );
            assert!(
                key != "image" || value.is_str(),
                "Cross.toml: cross 0.2.5 reads target.{name}.image only as a string"
            );
        }
    }
    for variable in manifest["build"]["env"]["passthrough"]
        .as_array()
        .expect("passthrough is a list")
    {
        assert!(
            variable.is_str(),
            "Cross.toml: {variable:?} in passthrough is not a variable's name"
        );
    }
}

// --- reporting ------------------------------------------------------------------------------

/// What a rule found. All of it is reported at once.
#[derive(Default)]
struct Findings(String);

impl Findings {
    fn add(&mut self, file: &str, line: usize, what: &str, remedy: &str) {
        writeln!(self.0, "{file}:{line}: {}: {remedy}", what.trim())
            .expect("a String takes any text");
    }

    /// Adds each place where `banned` stands as a word in `text`, a form of the source with the same lines.
    fn add_all(&mut self, source: &Source, text: &str, banned: &str, remedy: &str) {
        for position in word_positions(text, banned) {
            self.add(
                &source.name,
                line_of(text, position),
                &format!("`{banned}`"),
                remedy,
            );
        }
    }

    fn check(self) {
        assert!(self.0.is_empty(), "\n{}", self.0);
    }
}
