//! Every mistake is one line with key, cause and remedy.

use super::*;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/edge.toml")
}

/// Loads the shipped configuration with one replacement made in each file.
fn with(edge: (&str, &str), table: (&str, &str)) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    let source = shipped();
    let root = source.parent().expect("config/");
    for (name, (from, to)) in [("edge.toml", edge), ("instruments.toml", table)] {
        let text = std::fs::read_to_string(root.join(name)).expect("shipped");
        assert!(text.contains(from), "{name} has {from:?}");
        std::fs::write(folder.path().join(name), text.replacen(from, to, 1)).expect("written");
    }
    load(&folder.path().join("edge.toml"))
}

#[test]
fn what_is_shipped_loads() {
    let config = load(&shipped()).expect("config/edge.toml");
    assert!(config.listen.ip().is_loopback());
    assert!(
        config
            .venues
            .iter()
            .all(|venue| !venue.instruments.is_empty())
    );
}

#[test]
fn each_mistake_is_named_in_one_line() {
    for (edge, table, wanted) in [
        (("pulse_ms", "pulse_mss"), ("", ""), "pulse_mss"),
        (("pulse_ms = 1000", ""), ("", ""), "pulse_ms"),
        (
            ("pulse_ms = 1000", "pulse_ms = \"fast\""),
            ("", ""),
            "edge.toml:",
        ),
        (
            ("pulse_ms = 1000", "pulse_ms = 0"),
            ("", ""),
            "desk.pulse_ms",
        ),
        (
            ("name = \"kraken\"", "name = \"krakn\""),
            ("", ""),
            "no known venue",
        ),
        (
            ("policy = \"imbalance\"", "policy = \"magic\""),
            ("", ""),
            "desk.policy",
        ),
        (
            ("form = \"streaming\"", "form = \"batch\""),
            ("", ""),
            "model.form",
        ),
        (
            ("listen = \"127.0.0.1", "listen = \"nowhere"),
            ("", ""),
            "page.listen",
        ),
        (
            ("capital = \"", "capital = \"x"),
            ("", ""),
            "account.capital",
        ),
        (("", ""), ("quote = \"USD\"", "quote = \"EUR\""), "at_par"),
        (
            ("", ""),
            ("venue = \"kraken\"", "venue = \"krakn\""),
            "instrument",
        ),
        (("", ""), ("lot = \"", "lot = \"-"), "lot must be positive"),
        (("", ""), ("kind = \"spot\"", "kind = \"sport\""), "kind"),
    ] {
        let error = with(edge, table).expect_err(wanted).to_string();
        assert!(
            error.contains(wanted) && !error.contains('\n'),
            "{wanted}: {error}"
        );
    }
}

#[test]
fn a_model_is_named_by_its_folder_beside_the_configuration() {
    let policy = ("policy = \"imbalance\" ", "policy = \"model\" ");
    let config = with(policy, ("", "")).expect("a model may be named");
    let Setting::Model { folder, form } = config.policy else {
        panic!("{:?}", config.policy);
    };
    assert!(folder.ends_with("../var/model"), "{}", folder.display());
    assert_eq!(form, Form::Streaming);
}

#[test]
fn a_missing_file_says_what_to_do() {
    let error = load(Path::new("/nowhere/edge.toml"))
        .expect_err("missing")
        .to_string();
    assert!(error.contains("--config"), "{error}");
}

/// The first fee row of the first venue.
const ROW: &str = "{ volume = \"0\", maker_ppm = 1000, taker_ppm = 1000 },";

/// What stands in the shipped configuration, what shall stand there instead, and words of the error.
type Mistake = (&'static str, &'static str, &'static [&'static str]);

const LIMITS: &[Mistake] = &[
    (
        "daily_stop_bps = 300",
        "daily_stop_bps = -300",
        &["risk.daily_stop_bps: is -300 bps: write 1 to 10000"],
    ),
    (
        "stop_loss_bps = 500",
        "stop_loss_bps = 0",
        &["risk.stop_loss_bps: is 0 bps", "write 1 to"],
    ),
    (
        "position_cap_bps = 2500",
        "position_cap_bps = nan",
        &["risk.position_cap_bps: NaN", "write 1 to 10000"],
    ),
    (
        "stale_s = 30",
        "stale_s = 30.5",
        &["risk.stale_s: 30.5 is no whole number of s", "write 1 to"],
    ),
    (
        "stale_s = 30",
        "stale_s = \"30\"",
        &["risk.stale_s: \"30\"", "write 1 to"],
    ),
    (
        "min_order = \"10\"",
        "min_order = \"-10\"",
        &["risk.min_order: is -10: write 0 to"],
    ),
    (
        "min_order = \"10\"",
        "min_order = \"nan\"",
        &["risk.min_order", "\"nan\"", "write e.g. \"10\""],
    ),
    (
        "min_depth = \"1000\"",
        "min_depth = 1000",
        &["risk.min_depth: 1000 is no amount", "write e.g. \"10\""],
    ),
    (
        "stale_s = 30",
        "stale_s = 30\nspeed_limit = 3",
        &["risk.speed_limit: is no limit; remove it"],
    ),
    (
        "stale_s = 30",
        "# stale_s = 30",
        &["risk.stale_s: is missing; write it"],
    ),
    (
        "method = \"fixed\"",
        "method = \"martingale\"",
        &[
            "risk.method: \"martingale\"",
            "write fixed, atr, kelly-record, kelly-value",
        ],
    ),
    (
        "method = \"fixed\"",
        "method = 2",
        &["risk.method: 2 is unknown; write fixed"],
    ),
    (
        "daily_stop_bps = 300",
        "daily_stop_bps = 501",
        &["risk.daily_stop_bps", "daily_halt_bps", "lower"],
    ),
    (
        "emergency_violations = 5",
        "emergency_violations = 99",
        &["risk.emergency_violations: is 99 count: write 2 to 16"],
    ),
];

const SECTORS: &[Mistake] = &[
    // Without the sector of all others, an asset that no sector names has no cap.
    (
        "other = { cap_bps = 4000, assets = [] }",
        "",
        &[
            "risk.sectors.other: is missing, and ",
            "belongs to no sector; write other = { cap_bps = 4000",
        ],
    ),
    (
        "bitcoin = { cap_bps = 5000, assets",
        "bitcoin = { assets",
        &["risk.sectors.bitcoin", "cap_bps", "write { cap_bps = 5000"],
    ),
    (
        "bitcoin = { cap_bps = 5000",
        "bitcoin = { cap_bps = -1",
        &["risk.sectors.bitcoin", "-1 bps", "write 0 to 10000"],
    ),
    (
        "bitcoin = { cap_bps = 5000",
        "bitcoin = { cap_bps = nan",
        &["risk.sectors.bitcoin", "write { cap_bps = 5000"],
    ),
    (
        "\"ETH\", \"STETH\"",
        "\"ETH\", \"BTC\"",
        &["risk.sectors: asset BTC belongs to two sectors: remove one"],
    ),
    (
        "meme = {",
        "sector_of_many_letters = {",
        &["risk.sectors.sector_of_many_letters", "at most 16 letters"],
    ),
    (
        "meme = {",
        "meme = 3\nmemes = {",
        &["risk.sectors.meme", "write { cap_bps = 5000"],
    ),
];

const PAPER: &[Mistake] = &[
    (
        "queue_model = \"log2\"",
        "queue_model = \"fifo\"",
        &["paper.queue_model: \"fifo\" is unknown; write risk_averse"],
    ),
    (
        "queue_model = \"log2\"",
        "queue_model = \"power0\"",
        &["paper.queue_model", "power0"],
    ),
    (
        "tactic = \"make\"",
        "tactic = \"twap\"",
        &["execution.tactic: \"twap\" is unknown; write \"make\" or \"take\""],
    ),
    (
        "patience_ms = 10000",
        "patience_ms = 0",
        &["execution.patience_ms: 0 is not between 1 and 86400000"],
    ),
    (
        "patience_ms = 10000",
        "patience_ms = 86400001",
        &["execution.patience_ms: 86400001 is not between"],
    ),
    (
        "consumption_ms = 2000",
        "consumption_ms = 86400001",
        &["paper.consumption_ms: 86400001 is not between 0 and 86400000"],
    ),
    (
        "consumption_ms = 2000",
        "consumption_ms = -1",
        &["edge.toml:", "-1"],
    ),
    (
        "impact_coefficient = 1.0",
        "impact_coefficient = nan",
        &["paper.impact_coefficient: NaN is not between 0 and 100"],
    ),
    (
        "impact_coefficient = 1.0",
        "impact_coefficient = -0.1",
        &["paper.impact_coefficient: -0.1 is not between 0 and 100"],
    ),
    (
        "impact_half_life_s = 300",
        "impact_half_life_s = 0",
        &["paper.impact_half_life_s: 0 is not between 1 and 86400"],
    ),
    (
        "capital = \"10000\"",
        "capital = \"-1\"",
        &["account.capital: -1 is not positive; write"],
    ),
    (
        "capital = \"10000\"",
        "capital = \"0\"",
        &["account.capital: 0 is not positive; write"],
    ),
    (
        ROW,
        "{ volume = \"0\", maker_ppm = -1000001, taker_ppm = 0 },",
        &["venue", "binance-us", "fees", "write -1000000 to 1000000"],
    ),
    (
        ROW,
        "{ volume = \"0\", maker_ppm = 0, taker_ppm = -3000000000 },",
        &["edge.toml:", "-3000000000"],
    ),
    (ROW, "", &["binance-us", "fees has no row; write at least"]),
    (
        ROW,
        "{ volume = \"5\", maker_ppm = 0, taker_ppm = 0 },",
        &["binance-us", "fees must begin with volume = \"0\""],
    ),
    (
        ROW,
        "{ volume = \"x\", maker_ppm = 0, taker_ppm = 0 },",
        &["binance-us", "fees: volume \"x\""],
    ),
    (
        "volume = \"10000\", maker_ppm = 2500",
        "volume = \"90000\", maker_ppm = 2500",
        &["coinbase-advanced", "rising volumes; sort its rows"],
    ),
    (
        "latency = \"measured\"",
        "latency = \"instant\"",
        &[
            "binance-us",
            "latency \"instant\" is unknown; write \"measured\", \"constant\"",
        ],
    ),
    (
        "latency = \"measured\"",
        "latency = \"constant\"",
        &["binance-us", "\"constant\" needs", "twice the same number"],
    ),
    (
        "entry_ms = [20.0, 60.0]",
        "entry_ms = [nan, 60.0]",
        &["binance-us", "entry_ms = [NaN, 60]", "[shortest, longest]"],
    ),
    (
        "entry_ms = [20.0, 60.0]",
        "entry_ms = [60.0, 20.0]",
        &["binance-us", "entry_ms", "[shortest, longest]"],
    ),
    (
        "response_ms = [20.0, 60.0]",
        "response_ms = [-1.0, 60.0]",
        &["binance-us", "response_ms", "[shortest, longest]"],
    ),
    (
        "latency = \"measured\"",
        "latency = \"recorded\"",
        &[
            "binance-us",
            "\"recorded\" needs latency_file; write a path",
        ],
    ),
];

const FEATURES: &[Mistake] = &[
    (
        "every_s = 5 ",
        "every_s = 0 ",
        &["features.every_s: 0 is not between 1 and 3600; write e.g. 5, or store = false"],
    ),
    (
        "every_s = 5 ",
        "every_s = 3601 ",
        &["features.every_s: 3601 is not between"],
    ),
    (
        "max_mib = 2048",
        "max_mib = 15",
        &["features.max_mib: 15 is not between 16 and 1048576; write e.g. 2048, or store = false"],
    ),
    (
        "max_mib = 2048",
        "max_mib = 1048577",
        &["features.max_mib: 1048577 is not between"],
    ),
    ("max_mib = 2048", "max_mib = -1", &["edge.toml:", "-1"]),
    ("store = true", "store = \"yes\"", &["edge.toml:", "yes"]),
    ("store = true", "", &["edge.toml:", "store"]),
    ("store = true", "keep = true", &["edge.toml:", "keep"]),
];

/// Loads the shipped configuration with this in place of that.
fn mistaken(from: &str, to: &str) -> String {
    let error = with((from, to), ("", "")).expect_err(to).to_string();
    assert!(!error.contains('\n'), "{to}: one line: {error}");
    error
}

#[test]
fn a_mistaken_limit_is_named_with_cause_and_remedy() {
    for (from, to, wanted) in LIMITS {
        let error = mistaken(from, to);
        for word in *wanted {
            assert!(error.contains(word), "{to}: {word:?} in {error}");
        }
    }
}

#[test]
fn a_mistaken_sector_is_named_with_cause_and_remedy() {
    for (from, to, wanted) in SECTORS {
        let error = mistaken(from, to);
        for word in *wanted {
            assert!(error.contains(word), "{to}: {word:?} in {error}");
        }
    }
}

#[test]
fn a_mistake_of_paper_trading_is_named_with_cause_and_remedy() {
    for (from, to, wanted) in PAPER {
        let error = mistaken(from, to);
        for word in *wanted {
            assert!(error.contains(word), "{to}: {word:?} in {error}");
        }
    }
}

#[test]
fn a_mistake_of_stored_features_is_named_with_cause_and_remedy() {
    for (from, to, wanted) in FEATURES {
        let error = mistaken(from, to);
        for word in *wanted {
            assert!(error.contains(word), "{to}: {word:?} in {error}");
        }
    }
    let off = with(("store = true", "store = false"), ("", "")).expect("off");
    assert!(!off.features.store);
}

#[test]
fn a_reference_for_drift_must_be_one() {
    let key = "reference = \"\"";
    for (file, wanted) in [
        (
            "nowhere.bin",
            &["drift.reference", "nowhere.bin", "features --reference"][..],
        ),
        (
            "instruments.toml",
            &["drift.reference", "no drift reference"][..],
        ),
    ] {
        let error = mistaken(key, &format!("reference = \"{file}\""));
        for word in wanted {
            assert!(error.contains(word), "{file}: {word:?} in {error}");
        }
    }
}

/// Loads the shipped configuration with a file of recorded latencies that holds this.
fn recorded(bytes: Option<&[u8]>) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("latency.csv");
    if let Some(bytes) = bytes {
        std::fs::write(&file, bytes).expect("written");
    }
    let name = file.to_str().expect("UTF-8");
    let to = format!("latency = \"recorded\"\nlatency_file = {name:?}");
    with(
        ("latency = \"measured\"\nlatency_file = \"\"", &to),
        ("", ""),
    )
}

#[test]
fn recorded_latencies_are_rows_that_rise() {
    let rows = b"100,110,130\n200,0,250\n\n300,320,340\n";
    let config = recorded(Some(rows)).expect("good rows");
    let latency = &config.setup.costs[0].1.latency;
    let tickerml_shared::paper::latency::Latency::Recorded(rows) = latency else {
        panic!("{latency:?}");
    };
    assert_eq!(rows.len(), 3);
    for (bytes, wanted) in [
        (None, &["latency.csv", "it must be a readable file"][..]),
        (Some(&b""[..]), &["it has no row; write request,venue"]),
        (Some(b"\n\n"), &["it has no row"]),
        (
            Some(b"\xff\xfe\x00"),
            &["latency.csv", "it must be a readable file"],
        ),
        (Some(b"a,b,c\n"), &["latency.csv:1", "write request,venue"]),
        (Some(b"1,2\n"), &["latency.csv:1"]),
        (Some(b"1,2,3,4\n"), &["latency.csv:1"]),
        (
            Some(b"200,210,220\n100,110,120\n"),
            &["latency.csv:2", "rising by request"],
        ),
        (Some(b"200,210,220\n200,210,220\n"), &["latency.csv:2"]),
        (Some(b"100,110,105\n"), &["latency.csv:1"]),
        (Some(b"100,90,120\n"), &["latency.csv:1"]),
        (
            Some(b"100,0,120\n200,210,220\n"),
            &["first and last row", "remove those"],
        ),
        (
            Some(b"100,110,120\n200,0,220\n"),
            &["first and last row", "remove those"],
        ),
    ] {
        let error = recorded(bytes).expect_err("bad rows").to_string();
        assert!(!error.contains('\n'), "one line: {error}");
        for word in wanted {
            assert!(error.contains(word), "{word:?} in {error}");
        }
    }
}

#[test]
fn the_terms_in_force_are_told_in_full() {
    let config = load(&shipped()).expect("config/edge.toml");
    let told = terms::Terms::of(&config.setup);
    let names: Vec<_> = told.limits.iter().map(|limit| limit.name).collect();
    let keys: Vec<_> = tickerml_shared::risk::limits::KEYS
        .iter()
        .map(|key| key.name)
        .collect();
    assert_eq!(names, keys);
    let of = |name| {
        let limit = told.limits.iter().find(|limit| limit.name == name);
        limit.map(|limit| (limit.value.as_str(), limit.unit))
    };
    assert_eq!(of("drawdown_halt_bps"), Some(("2500", "bps")));
    assert_eq!(of("min_order"), Some(("10", "money")));
    assert_eq!(of("stale_s"), Some(("30", "s")));
    let text = told.to_string();
    for words in [
        "risk, sizes by method fixed",
        "  sector bitcoin                  5000 bps  BTC WBTC\n",
        "  sector other                    4000 bps  all others\n",
        "  tactic                          make\n",
        "  patience_ms                    10000\n",
        "  queue_model                     log2\n",
        "  impact_coefficient                 1\n",
        "\n  kraken                     queue log2; latency measured, in ms: entry 20 to 80, \
         response 20 to 80 until enough were measured\n    from 0                   maker 0.25 %, taker 0.4 %\n",
    ] {
        assert!(text.contains(words), "{words:?} in\n{text}");
    }
    let taking = ("tactic = \"make\"", "tactic = \"take\"");
    let constant = recorded(Some(b"100,110,130\n")).expect("good rows");
    assert!(
        terms::Terms::of(&constant.setup)
            .to_string()
            .contains("latency recorded, in ms: from 1 recorded request")
    );
    let config = with(taking, ("", "")).expect("take is a tactic");
    let told = terms::Terms::of(&config.setup);
    assert_eq!(told.execution.len(), 1, "patience is not used");
}
