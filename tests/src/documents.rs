//! The documentation names what the code has: limits, codes, keys, defaults.

use std::collections::BTreeSet;
use std::fs;

use tickerml_edge::config;
use tickerml_shared::features::bars::Timeframe;
use tickerml_shared::features::{BLOCKS, features};
use tickerml_shared::num::{CASH_SCALE, Fixed};
use tickerml_shared::order::Reason;
use tickerml_shared::paper::queue::QueueModel;
use tickerml_shared::risk::denial::Denial;
use tickerml_shared::risk::limits::{KEYS, Key, Limits, Method, Unit};
use tickerml_shared::risk::state::{Cause, Level};
use tickerml_shared::risk::table::exit_code;
use toml::{Table, Value};

fn page(name: &str) -> String {
    fs::read_to_string(crate::root().join(name)).expect("a page")
}

/// What stands between backticks on a page.
fn named(page: &str) -> BTreeSet<&str> {
    page.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect()
}

/// The cells of the table row that begins with this name.
fn row<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let head = format!("| `{name}` |");
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with(&head))
        .collect();
    let [row] = rows[..] else {
        panic!(
            "docs/RISK.md needs one row that begins with {head:?}, and has {}",
            rows.len()
        );
    };
    row.trim_matches('|').split(" | ").map(str::trim).collect()
}

fn shown(key: &Key) -> String {
    match key.unit {
        Unit::Money => Fixed::new(key.default, CASH_SCALE).trimmed().to_string(),
        _ => key.default.to_string(),
    }
}

/// Every code that the gate, its restrictions and its closings have.
fn codes() -> BTreeSet<&'static str> {
    let denials = Denial::ALL.map(Denial::code);
    let causes = Cause::ALL.map(Cause::code);
    let exits = Reason::ALL.into_iter().filter_map(exit_code);
    denials.into_iter().chain(causes).chain(exits).collect()
}

fn shipped() -> Table {
    page("config/edge.toml").parse().expect("TOML")
}

#[test]
fn every_limit_is_documented_with_its_unit_and_default() {
    let risk = page("docs/RISK.md");
    for key in KEYS {
        let cells = row(&risk, key.name);
        assert_eq!(
            (cells.get(1), cells.get(2)),
            (Some(&key.unit.name()), Some(&shown(key).as_str())),
            "docs/RISK.md: unit and default of {}",
            key.name
        );
    }
    for word in Method::ALL.map(Method::name) {
        row(&risk, word);
    }
    let names = named(&risk);
    for level in [Level::Active, Level::Reducing, Level::Halted] {
        assert!(
            names.contains(level.name()),
            "docs/RISK.md: {}",
            level.name()
        );
    }
}

#[test]
fn every_code_is_documented_and_no_other() {
    let risk = page("docs/RISK.md");
    let is_code = |name: &&str| {
        let digits = name.strip_prefix('R').and_then(|rest| rest.split_once('-'));
        digits.is_some_and(|(number, _)| number.len() == 2 && number.parse::<u8>().is_ok())
    };
    let found: BTreeSet<_> = named(&risk).into_iter().filter(is_code).collect();
    let missing: Vec<_> = codes().difference(&found).copied().collect();
    let unknown: Vec<_> = found.difference(&codes()).copied().collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/RISK.md lacks {missing:?} and has {unknown:?}, which the code has not"
    );
    for code in codes() {
        row(&risk, code);
    }
}

#[test]
fn the_shipped_configuration_has_every_limit_at_its_default() {
    let table = shipped();
    let risk = table["risk"].as_table().expect("[risk]");
    for key in KEYS {
        let value = match risk.get(key.name) {
            Some(Value::Integer(value)) => value.to_string(),
            Some(Value::String(value)) => value.clone(),
            other => panic!("config/edge.toml: risk.{}: {other:?}", key.name),
        };
        assert_eq!(value, shown(key), "config/edge.toml: risk.{}", key.name);
    }
    let config = config::load(&crate::root().join("config/edge.toml")).expect("it loads");
    // Sectors are a table, and their order in it is not ours.
    let sorted = |limits: &Limits| {
        let mut limits = limits.clone();
        limits.sectors.caps.sort_by(|a, b| a.name.cmp(&b.name));
        limits.sectors.assets.sort();
        limits
    };
    assert_eq!(sorted(&config.setup.limits), sorted(&Limits::shipped()));
}

#[test]
fn a_limit_is_told_in_the_configuration_as_in_the_code() {
    let text = page("config/edge.toml");
    for key in KEYS {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{} =", key.name)));
        let (_, comment) = line
            .and_then(|line| line.split_once("# "))
            .unwrap_or_default();
        let about = key.about.trim_end_matches('.').replace('`', "");
        assert_eq!(
            comment.to_lowercase(),
            about.to_lowercase(),
            "risk.{}",
            key.name
        );
    }
}

#[test]
fn every_key_of_paper_trading_is_documented() {
    let execution = page("docs/EXECUTION.md");
    let names = named(&execution);
    let table = shipped();
    let venue = &table["venue"].as_array().expect("venues")[0];
    let fee = &venue["fees"].as_array().expect("rows")[0];
    let keys = |value: &Value| -> Vec<String> {
        value.as_table().expect("a table").keys().cloned().collect()
    };
    let mut wanted = keys(&table["paper"]);
    wanted.extend(keys(&table["execution"]));
    wanted.extend(keys(fee));
    let of_venue = ["latency", "latency_file", "entry_ms", "response_ms", "fees"];
    for key in of_venue {
        assert!(venue.get(key).is_some(), "config/edge.toml: {key}");
    }
    wanted.extend(of_venue.map(str::to_owned));
    for key in wanted {
        assert!(names.contains(key.as_str()), "docs/EXECUTION.md: `{key}`");
    }
    for model in [
        "risk_averse",
        "log",
        "log2",
        "power3",
        "power2_3",
        "power3_3",
        "square",
    ] {
        assert!(QueueModel::from_name(model).is_some(), "{model}");
        assert!(names.contains(model), "docs/EXECUTION.md: `{model}`");
    }
    for reason in Reason::ALL {
        assert!(
            names.contains(reason.name()),
            "docs/EXECUTION.md: `{}`",
            reason.name()
        );
    }
}

#[test]
fn every_group_of_features_is_documented() {
    let page = page("docs/FEATURES.md");
    let names = named(&page);
    for block in BLOCKS {
        let group = block.group.name();
        assert!(
            page.contains(&format!("| `{group}` |")),
            "docs/FEATURES.md: {group}"
        );
    }
    for timeframe in Timeframe::ALL {
        let name = timeframe.name();
        assert!(names.contains(name), "docs/FEATURES.md: `{name}`");
    }
    for feature in features() {
        let unit = feature.row.unit.name();
        assert!(names.contains(unit), "docs/FEATURES.md: unit `{unit}`");
    }
}

#[test]
fn the_pages_are_linked_from_the_first_ones() {
    for name in ["README.md", "ARCHITECTURE.md"] {
        let text = page(name);
        for link in [
            "docs/FEATURES.md",
            "docs/RISK.md",
            "docs/EXECUTION.md",
            "docs/PARITY.md",
        ] {
            assert!(text.contains(&format!("]({link})")), "{name}: {link}");
        }
    }
}
