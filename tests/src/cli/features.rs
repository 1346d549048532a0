//! `features`: the table as it is printed, and what its evaluation says and refuses.

use std::fs;

use serde_json::Value;
use tickerml_shared::features::{BLOCKS, Block, Group, SELECTION, TABLE_LEN, features, selected};
use tickerml_shared::schema::schema_id;
use tickerml_sim::capture::Feed;

use super::{edge, fixture, good, refused, utf8};

#[test]
fn the_table_is_printed_whole_and_in_parts() {
    let schema = schema_id().to_string();
    let words = good(&["features"]);
    assert_eq!(words.lines().count(), 1 + TABLE_LEN + 2, "{words}");
    assert!(words.trim_end().ends_with(&schema), "{words}");
    let found: Value = serde_json::from_str(&good(&["features", "--json"])).expect("JSON");
    assert_eq!(found["schema_id"], *schema);
    let rows = found["features"].as_array().expect("rows");
    assert_eq!(rows.len(), TABLE_LEN);
    for ((row, feature), line) in rows.iter().zip(features()).zip(words.lines().skip(1)) {
        assert_eq!(row["name"], *feature.to_string());
        assert_eq!(row["place"], feature.place);
        assert_eq!(row["unit"], feature.row.unit.name());
        assert_eq!(row["source"], feature.row.source);
        let mut cells = line.split_whitespace();
        assert_eq!(cells.next(), Some(&*feature.place.to_string()), "{line}");
        assert_eq!(cells.next(), Some(&*feature.to_string()), "{line}");
    }
    let chosen = rows.iter().filter(|row| row["selected"].is_u64());
    assert_eq!(chosen.count(), SELECTION.len());
    let count = |arguments: &[&str]| -> usize {
        let out = good(&[&["features", "--json"], arguments].concat());
        let found: Value = serde_json::from_str(&out).expect("JSON");
        found["features"].as_array().expect("rows").len()
    };
    let flow = features()
        .filter(|feature| feature.group == Group::Flow)
        .count();
    assert_eq!(count(&["--group", "flow"]), flow);
    assert_eq!(count(&["--selected"]), SELECTION.len());
    let both = selected().filter(|feature| feature.group == Group::Flow);
    assert_eq!(count(&["--selected", "--group", "flow"]), both.count());
}

#[test]
fn an_evaluation_says_the_same_in_every_process_and_draws_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let svg = folder.path().join("ic.svg");
    for feed in [Feed::Binance, Feed::Kraken] {
        let path = fixture(feed);
        let arguments = [
            "features",
            "--evaluate",
            &path,
            "--venue",
            feed.name(),
            "--every-ms",
            "50",
        ];
        let with = |more: &[&str]| good(&[&arguments, more].concat());
        let first = with(&["--json", "--svg", utf8(&svg)]);
        assert_eq!(with(&["--json"]), first, "{feed:?}");
        let found: Value = serde_json::from_str(&first).expect("JSON");
        assert_eq!(found["schema_id"], *schema_id().to_string());
        assert_eq!(found["every_ms"], 50);
        assert_eq!(found["instruments"].as_array().map(Vec::len), Some(2));
        let rows = found["features"].as_array().expect("rows");
        assert_eq!(rows.len(), TABLE_LEN);
        let spread = rows.iter().find(|row| row["name"] == "spread");
        assert_eq!(spread.expect("a row")["known"], 1.0, "{feed:?}");
        let sizes = rows.iter().map(|row| {
            let ic = |place: usize| row["horizons"][place]["ic"].as_f64();
            let ic = ic(1).or(ic(0));
            (row.get("why").is_none(), ic.map_or(-1.0, f64::abs))
        });
        let sizes: Vec<_> = sizes.collect();
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{feed:?}: {sizes:?}");
        let words = with(&["--top", "2"]);
        assert!(words.contains("not shown: "), "{words}");
        assert!(!words.contains("NaN"), "{words}");
        let one = with(&[
            "--group",
            "book",
            "--instrument",
            &instrument(&found),
            "--json",
        ]);
        let one: Value = serde_json::from_str(&one).expect("JSON");
        assert_eq!(one["instruments"].as_array().map(Vec::len), Some(1));
        assert!(one["samples"].as_u64() < found["samples"].as_u64());
        let picture = fs::read_to_string(&svg).expect("drawn");
        assert!(picture.starts_with("<svg ") && !picture.contains("<script"));
    }
}

fn instrument(report: &Value) -> String {
    let name = report["instruments"][0].as_str();
    name.expect("a name").to_owned()
}

#[test]
fn a_mistake_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| utf8(&folder.path().join(name)).to_owned();
    let kraken = fixture(Feed::Kraken);
    let evaluate = |input: &'static str| ["features", "--evaluate", input];
    refused(
        &["features", "--group", "flux"],
        2,
        &["--group", "flux", "order_flow"],
    );
    let with = |more: &[&str], code: i32, words: &[&str]| {
        let arguments = ["features", "--evaluate", &kraken, "--venue", "kraken"];
        refused(&[&arguments, more].concat(), code, words);
    };
    with(&["--group", "flux"], 2, &["flux", "there are"]);
    let unselected = |block: &&Block| selected().all(|feature| feature.group != block.group);
    if let Some(block) = BLOCKS.iter().find(unselected) {
        let group = block.group.name();
        with(
            &["--group", group, "--selected"],
            2,
            &["--selected", "drop"],
        );
    }
    with(&["--every-ms", "7"], 2, &["--every-ms", "divisor of 1000"]);
    with(
        &["--instrument", "DOGE/USD"],
        2,
        &["DOGE/USD", "kraken:BTC/USD"],
    );
    with(
        &["--svg", &path("no/ic.svg"), "--every-ms", "50"],
        1,
        &["no/ic.svg", "--svg"],
    );
    with(&["--every-ms", "60000"], 1, &[&kraken, "--every-ms"]);
    refused(
        &[&evaluate("/nowhere.jsonl")[..], &["--venue", "kraken"]].concat(),
        1,
        &["/nowhere.jsonl", "that this user can read?"],
    );
    refused(
        &[&evaluate("/nowhere.jsonl")[..], &["--venue", "krakn"]].concat(),
        2,
        &["krakn", "known are"],
    );
    refused(&evaluate("/nowhere"), 1, &["/nowhere", "journal"]);
    refused(
        &["features", "--evaluate", &kraken],
        2,
        &[&kraken, "--venue"],
    );
    refused(
        &["features", "--evaluate", &kraken, "--venue", "kucoin"],
        1,
        &[&kraken, "is --venue right?"],
    );
    // Usage that the parser itself refuses.
    for arguments in [&["--venue", "kraken"][..], &["--top", "3"], &["--evaluate"]] {
        let ended = edge(&[&["features"], arguments].concat());
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
    }
}
