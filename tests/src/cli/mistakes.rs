//! Mistakes in a configuration and what is said to each.

const EDGE: &str = "edge.toml";
const TABLE: &str = "instruments.toml";

/// A file, what stands in it, what shall stand there instead, and words of the refusal.
pub(super) type Mistake = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

pub(super) const MISTAKES: &[Mistake] = &[
    (EDGE, "[desk]", "[desk", &["edge.toml:"]),
    (
        EDGE,
        "pulse_ms = 1000",
        "pulse_ms = 1000\ncolour = 1",
        &["edge.toml:", "colour"],
    ),
    (EDGE, "hold_ms = 10 ", "# ", &["edge.toml:", "hold_ms"]),
    (
        EDGE,
        "hold_ms = 10 ",
        "hold_ms = \"ten\" ",
        &["edge.toml:", "expected u64"],
    ),
    (
        EDGE,
        "name = \"kraken\"",
        "name = \"krakn\"",
        &["krakn", "known are"],
    ),
    (
        EDGE,
        "policy = \"imbalance\"",
        "policy = \"magic\"",
        &["desk.policy", "magic", "imbalance"],
    ),
    (
        EDGE,
        "filter = \"info\"",
        "filter = \"loud=loud\"",
        &["log.filter"],
    ),
    (
        EDGE,
        "instruments = \"instruments.toml\"",
        "instruments = \"no.toml\"",
        &["no.toml", "node.instruments"],
    ),
    (
        EDGE,
        "daily_halt_bps = 500",
        "daily_halt_bps = -500",
        &["risk.daily_halt_bps", "-500 bps", "write 1 to 10000"],
    ),
    (
        EDGE,
        "position_cap_bps = 2500",
        "position_cap_bps = nan",
        &["risk.position_cap_bps", "NaN", "write 1 to 10000"],
    ),
    (
        EDGE,
        "min_order = \"10\"",
        "min_order = \"-1\"",
        &["risk.min_order", "-1", "write 0 to"],
    ),
    (
        EDGE,
        "other = { cap_bps = 4000, assets = [] }",
        "",
        &["risk.sectors.other", "belongs to no sector", "write other"],
    ),
    (
        EDGE,
        "maker_ppm = 2500, taker_ppm = 4000",
        "maker_ppm = -1000001, taker_ppm = 4000",
        &["fees", "100 %", "write -1000000 to 1000000"],
    ),
    (
        EDGE,
        "queue_model = \"log2\"",
        "queue_model = \"fifo\"",
        &["paper.queue_model", "fifo", "risk_averse"],
    ),
    (
        EDGE,
        "tactic = \"make\"",
        "tactic = \"twap\"",
        &["execution.tactic", "twap", "write \"make\""],
    ),
    (
        EDGE,
        "impact_coefficient = 1.0",
        "impact_coefficient = nan",
        &["paper.impact_coefficient", "NaN", "between 0 and 100"],
    ),
    (
        TABLE,
        "venue = \"kraken\"",
        "venue = \"krakn\"",
        &["instruments.toml", "krakn", "known are"],
    ),
    (
        TABLE,
        "venue = \"kraken\"\nsymbol = \"BTC/USD\"",
        "venue = \"coinbase\"\nsymbol = \"BTC/USD\"",
        &["[[venue]]", "coinbase"],
    ),
    (
        TABLE,
        "symbol = \"BTC/USD\"",
        "symbol = 7",
        &["instruments.toml:"],
    ),
    (TABLE, "lot = ", "# lot = ", &["instruments.toml:", "lot"]),
];
