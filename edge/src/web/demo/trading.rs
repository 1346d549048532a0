//! Invented orders, fills, results and limits.

use super::super::snapshot::*;
use super::{Dice, INSTRUMENTS, NOON, SECOND, VENUES};

/// A contract with funding.
const PERPETUAL: (&str, &str) = ("BTC/USDT-PERP", "kucoin-futures");

pub(super) fn orders(tick: u64) -> Vec<Order> {
    let base = |id: &str, (instrument, venue): (&str, &str), side: &str| Order {
        id: id.to_owned(),
        instrument: instrument.to_owned(),
        venue: venue.to_owned(),
        side: side.to_owned(),
        kind: "limit".to_owned(),
        time_in_force: "post-only".to_owned(),
        state: "resting".to_owned(),
        reason: "decision".to_owned(),
        ..Order::default()
    };
    // The queue moves on and starts anew.
    let eaten = 0.03 * (tick % 12) as f64;
    vec![
        Order {
            qty: "0.0031".to_owned(),
            executed: "0.0000".to_owned(),
            left: "0.0031".to_owned(),
            price: Some("64198.7".to_owned()),
            age_ms: 3_140 + tick * 250,
            queue: Some(Queue {
                optimistic: 0.4127 - eaten,
                estimate: 1.1042 - eaten,
                pessimistic: 1.8825 - eaten,
                joined: Some(2.5),
            }),
            ..base("7041", ("BTC/USD", "binance"), "buy")
        },
        Order {
            time_in_force: "gtc".to_owned(),
            qty: "0.0400".to_owned(),
            executed: "0.0125".to_owned(),
            left: "0.0275".to_owned(),
            price: Some("3415.10".to_owned()),
            state: "partially filled".to_owned(),
            reason: "take-profit".to_owned(),
            age_ms: 61_900 + tick * 250,
            queue: Some(Queue {
                optimistic: 0.0,
                estimate: 0.0,
                pessimistic: 0.7,
                joined: Some(14.2),
            }),
            spanned_gap: true,
            ..base("6988", ("ETH/USD", "kraken"), "sell")
        },
        Order {
            qty: "40".to_owned(),
            executed: "0".to_owned(),
            left: "40".to_owned(),
            price: Some("0.52300".to_owned()),
            state: "cancel asked".to_owned(),
            age_ms: 12_005 + tick * 250,
            queue: Some(Queue {
                optimistic: 8_211.0,
                estimate: 10_940.0,
                pessimistic: 12_402.0,
                joined: Some(12_402.0),
            }),
            synthetic: true,
            ..base("7012", ("XRP/USD", "coinbase"), "buy")
        },
        Order {
            kind: "market".to_owned(),
            time_in_force: "ioc".to_owned(),
            qty: "0.45".to_owned(),
            executed: "0.00".to_owned(),
            left: "0.45".to_owned(),
            state: "sent".to_owned(),
            reason: "stop-loss".to_owned(),
            age_ms: 38,
            ..base("7044", ("SOL/USD", "coinbase"), "sell")
        },
    ]
}

pub(super) fn fills(dice: &mut Dice, now: u64) -> Vec<Fill> {
    let base = now / (60 * SECOND) * 60 * SECOND;
    (0..FILLS as u64)
        .map(|i| {
            let (instrument, price) = INSTRUMENTS[dice.below(4) as usize];
            let maker = i % 5 < 2;
            let behind = if maker { dice.below(16) as u32 } else { 0 };
            let adverse = 2.4 * dice.swing();
            let ns = if i == 0 {
                now - 7 * SECOND
            } else {
                base - i * 97 * SECOND - dice.below(60) * SECOND
            };
            let adverse_bps = std::array::from_fn(|k| {
                (i > 0 || k < 2).then_some(adverse * (k as f64 + 0.6) * 0.8)
            });
            let late = adverse_bps[2].unwrap_or(0.0);
            Fill {
                ns,
                order: (7_040 - i * 3).to_string(),
                instrument: instrument.to_owned(),
                venue: VENUES[dice.below(3) as usize].0.to_owned(),
                side: if dice.below(2) == 0 { "buy" } else { "sell" }.to_owned(),
                qty: format!("{:.4}", 120.0 / price * (0.5 + dice.unit())),
                price: format!("{:.4}", price * (1.0 + 0.001 * dice.swing())),
                maker,
                fee: if maker { -0.012 } else { 0.06 } + 0.02 * dice.unit(),
                slippage_bps: (i % 11 != 4).then_some(1.9 * dice.swing() + 0.4),
                split: (i % 13 != 12).then(|| Split {
                    latency: 0.006 * dice.swing(),
                    queue: if maker { 0.011 * dice.swing() } else { 0.0 },
                    spread: if maker { 0.009 } else { -0.011 } * dice.unit(),
                    impact: if maker { 0.0 } else { -0.004 * dice.unit() },
                }),
                toxicity: Toxicity {
                    toxic: behind > 10 || late > 3.0,
                    joined_behind: behind,
                    adverse_bps,
                },
                reason: match dice.below(6) {
                    0 => "stop-loss",
                    1 => "take-profit",
                    2 => "trailing-stop",
                    _ => "decision",
                }
                .to_owned(),
                spanned_gap: i % 17 == 3,
                synthetic: i % 19 == 5,
            }
        })
        .collect()
}

pub(super) fn fill_counts(tick: u64) -> FillCounts {
    FillCounts {
        maker: 811 + tick / 40,
        taker: 1_204 + tick / 25,
        toxic: 97,
        synthetic: 12,
    }
}

/// Effects whose sum is the ledger's profit, to the cent.
pub(super) fn attribution() -> Attribution {
    let row = |name: &str, venue: &str, cents: [i64; 7]| {
        let [market, spread, latency, queue, impact, fees, funding] =
            cents.map(|c| c as f64 / 100.0);
        Effects {
            name: name.to_owned(),
            venue: venue.to_owned(),
            market,
            spread,
            latency,
            queue,
            impact,
            fees,
            funding,
            sum: cents.iter().sum::<i64>() as f64 / 100.0,
        }
    };
    let each = [
        ("BTC/USD", "binance", [6_214, 311, -402, -188, -97, -811, 0]),
        ("ETH/USD", "kraken", [-1_120, 204, -71, -93, -22, -402, 0]),
        ("SOL/USD", "coinbase", [2_871, -315, -188, 0, -61, -377, 0]),
        ("XRP/USD", "coinbase", [405, 66, -12, -41, 0, -88, 0]),
        (PERPETUAL.0, PERPETUAL.1, [702, -44, -31, 0, -9, -149, -118]),
    ];
    let reasons = [
        ("decision", [10_311, 288, -590, -310, -162, -1_502, -118]),
        ("stop-loss", [-1_988, -102, -91, 0, -22, -204, 0]),
        ("take-profit", [749, 36, -23, -12, -5, -121, 0]),
    ];
    let mut total = [0; 7];
    for (_, _, cents) in &each {
        for (sum, part) in total.iter_mut().zip(cents) {
            *sum += part;
        }
    }
    let total = row("", "", total);
    Attribution {
        ledger_profit: Some(total.sum),
        total: Some(total),
        by_instrument: each.iter().map(|&(n, v, c)| row(n, v, c)).collect(),
        by_reason: reasons.iter().map(|&(n, c)| row(n, "", c)).collect(),
    }
}

pub(super) fn performance(started: u64) -> Performance {
    let full = Figures {
        pnl: Some(52.28),
        return_pct: Some(0.5228),
        sharpe: Some(1.84),
        sortino: Some(2.61),
        calmar: None,
        max_drawdown_pct: Some(0.71),
        max_drawdown_s: Some(41_200),
        var_95_pct: Some(0.061),
        cvar_95_pct: Some(0.094),
        win_rate: Some(0.541),
        profit_factor: Some(1.22),
        turnover: Some(4.17),
        exposure_pct: Some(11.4),
        trades: 211,
        ..Figures::default()
    };
    let row = |name: &str, venue: &str, pnl: f64, trades: u64| Figures {
        name: name.to_owned(),
        venue: venue.to_owned(),
        pnl: Some(pnl),
        return_pct: Some(pnl / 100.0),
        trades,
        ..full.clone()
    };
    let few = Figures {
        name: "XRP/USD".to_owned(),
        venue: "coinbase".to_owned(),
        pnl: Some(3.3),
        trades: 2,
        ..Figures::default()
    };
    Performance {
        since_ns: Some(started),
        returns: 3_124,
        return_step_s: 60,
        by_instrument: vec![
            row("BTC/USD", "binance", 50.27, 104),
            row("ETH/USD", "kraken", -15.04, 41),
            row("SOL/USD", "coinbase", 19.3, 39),
            few,
            row(PERPETUAL.0, PERPETUAL.1, 3.51, 25),
        ],
        by_strategy: vec![
            row("decision", "", 79.17, 160),
            row("stop-loss", "", -24.07, 31),
            row("take-profit", "", 6.24, 20),
        ],
        portfolio: full,
    }
}

pub(super) fn risk(now: u64) -> Risk {
    let minute = now / (60 * SECOND) * 60 * SECOND;
    let scope = |scope: &str, what: &str| Scope {
        scope: scope.to_owned(),
        what: what.to_owned(),
        ..Scope::default()
    };
    let mut scopes = vec![scope("portfolio", "all instruments")];
    scopes.extend(
        VENUES
            .iter()
            .take(3)
            .map(|(venue, _)| scope("venue", venue)),
    );
    scopes.push(Scope {
        state: TradingState::Halted,
        code: "venue_down".to_owned(),
        cause: "no connection for more than 30 s".to_owned(),
        since_ns: Some(minute - 11 * SECOND),
        how_to_clear: "ends by itself when every book of the venue is live again".to_owned(),
        ..scope("venue", "kucoin")
    });
    for (instrument, _) in INSTRUMENTS.iter().take(3) {
        scopes.push(scope("instrument", &format!("binance {instrument}")));
    }
    scopes.push(Scope {
        state: TradingState::Reducing,
        code: "consecutive_losses".to_owned(),
        cause: "5 losing trades in a row".to_owned(),
        since_ns: Some(NOON - 610 * SECOND),
        until_ns: Some(NOON + 2_990 * SECOND),
        how_to_clear: "ends at the time shown, or at once by".to_owned(),
        command: Some("tickerml-edge resume --instrument 'kraken ETH/USD'".to_owned()),
        ..scope("instrument", "kraken ETH/USD")
    });
    let violation = |ago: u64, code: &str, scope: &str, text: &str| Violation {
        ns: minute - ago * SECOND,
        code: code.to_owned(),
        scope: scope.to_owned(),
        text: text.to_owned(),
    };
    let denial = |ago: u64, (instrument, venue): (&str, &str), code: &str, text: &str| Denial {
        ns: minute - ago * SECOND,
        since_ns: minute - (ago + ago / 3) * SECOND,
        count: 1 + ago / 3,
        instrument: instrument.to_owned(),
        venue: venue.to_owned(),
        code: code.to_owned(),
        text: text.to_owned(),
    };
    Risk {
        scopes,
        limits: limits(),
        violations: Violations {
            recent: vec![
                violation(
                    22,
                    "spread",
                    "kraken ETH/USD",
                    "Spread 9.4 bps, limit 8 bps.",
                ),
                violation(
                    101,
                    "consecutive_losses",
                    "kraken ETH/USD",
                    "5 losing trades in a row, limit 5.",
                ),
            ],
            count: 2,
            most: 5,
            window_s: 300,
            total: 17,
        },
        denials: vec![
            denial(
                3,
                ("ETH/USD", "kraken"),
                "spread",
                "The spread is too wide: 9.4 bps, limit 8 bps.",
            ),
            denial(
                19,
                ("BTC/USD", "binance"),
                "position_cap",
                "The position would be 26.1 % of equity; the cap is 25 %.",
            ),
            denial(
                44,
                ("SOL/USD", "kucoin"),
                "stale_book",
                "The book is stale: no price, no order.",
            ),
        ],
        denial_counts: [("spread", 1_204), ("stale_book", 311), ("position_cap", 27)]
            .iter()
            .map(|&(code, count)| DenialCount {
                code: code.to_owned(),
                count,
            })
            .collect(),
    }
}

fn limits() -> Vec<Limit> {
    let all = "portfolio";
    let rows = [
        (
            "position_cap",
            "Position",
            "binance BTC/USD",
            Some(22.4),
            25.0,
            "%",
        ),
        ("exposure", "Total exposure", all, Some(41.0), 100.0, "%"),
        (
            "sector_cap",
            "Sector exposure",
            "layer 1",
            Some(31.2),
            50.0,
            "%",
        ),
        (
            "correlation",
            "Correlated exposure",
            all,
            Some(28.9),
            40.0,
            "%",
        ),
        ("heat", "Portfolio heat", all, Some(2.1), 6.0, "%"),
        ("drawdown", "Drawdown", all, Some(0.71), 25.0, "%"),
        ("daily_loss", "Loss today", all, Some(0.0), 3.0, "%"),
        ("weekly_loss", "Loss this week", all, Some(0.4), 8.0, "%"),
        (
            "consecutive_losses",
            "Consecutive losses",
            "kraken ETH/USD",
            Some(5.0),
            5.0,
            "trades",
        ),
        ("spread", "Spread", "kraken ETH/USD", Some(9.4), 8.0, "bps"),
        (
            "stale",
            "Age of market data",
            "kucoin",
            Some(41.0),
            5.0,
            "s",
        ),
        ("clock", "Clock offset", "kraken", Some(38.4), 250.0, "ms"),
        ("latency", "Latency", "coinbase", Some(118.2), 500.0, "ms"),
        (
            "flash_crash",
            "Fall in one minute",
            "coinbase SOL/USD",
            None,
            5.0,
            "%",
        ),
    ];
    let mut limits: Vec<Limit> = rows
        .iter()
        .map(|&(code, name, scope, value, limit, unit)| Limit {
            code: code.to_owned(),
            key: format!("{code}_limit"),
            name: name.to_owned(),
            scope: scope.to_owned(),
            value,
            limit,
            unit: unit.to_owned(),
            bound: Bound::Most,
            tripped: value.is_some_and(|v| v >= limit),
        })
        .collect();
    for (code, name, scope, value, limit, unit) in [
        (
            "liquidity",
            "Liquidity near the touch",
            "coinbase XRP/USD",
            21_400.0,
            10_000.0,
            "USD",
        ),
        ("confidence", "Confidence of the model", all, 0.61, 0.55, ""),
    ] {
        limits.push(Limit {
            code: code.to_owned(),
            key: format!("{code}_least"),
            name: name.to_owned(),
            scope: scope.to_owned(),
            value: Some(value),
            limit,
            unit: unit.to_owned(),
            bound: Bound::Least,
            tripped: value < limit,
        });
    }
    limits
}

pub(super) fn reconciliation(now: u64, tick: u64) -> Reconciliation {
    let checked = now / (10 * SECOND) * 10 * SECOND;
    Reconciliation {
        checked_ns: Some(checked),
        checks: 18_744 + tick / 40,
        differences: vec![Difference {
            venue: "coinbase".to_owned(),
            what: "position SOL/USD".to_owned(),
            ours: "1.05".to_owned(),
            theirs: "0.60".to_owned(),
            travelling: "−0.45".to_owned(),
            explained: true,
            since_ns: Some(checked - 38_000_000),
        }],
    }
}

pub(super) fn paper() -> Vec<PaperTerms> {
    let rows = [
        (0, -0.5, 2.0, "measured", Some((23.1, 64.8)), 4_102),
        (1, 4.0, 6.0, "measured", Some((41.9, 122.0)), 3_988),
        (2, 2.5, 4.0, "measured", Some((88.4, 240.6)), 2_011),
        (3, 1.0, 1.0, "fixed", None, 0),
    ];
    rows.iter()
        .map(
            |&(venue, maker, taker, mode, trip, round_trips)| PaperTerms {
                venue: VENUES[venue].0.to_owned(),
                maker_fee_bps: Some(maker),
                taker_fee_bps: Some(taker),
                latency_mode: mode.to_owned(),
                round_trip_p50_ms: trip.map(|t| t.0),
                round_trip_p99_ms: trip.map(|t| t.1),
                round_trips,
                queue_model: "power 3, between risk-averse bounds".to_owned(),
                switches: [
                    ("latency", true),
                    ("queue", true),
                    ("impact", venue != 3),
                    ("fees", true),
                    ("funding", venue == 3),
                    ("consumption", true),
                ]
                .iter()
                .map(|&(name, on)| Switch {
                    name: name.to_owned(),
                    on,
                })
                .collect(),
            },
        )
        .collect()
}
