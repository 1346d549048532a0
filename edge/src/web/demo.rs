//! An invented snapshot with every kind of content, for tests and for looking at the page.

mod data;
mod signals;
mod trading;

use super::snapshot::*;

const SECOND: u64 = 1_000_000_000;
/// 2026-01-15 14:00:00 UTC.
const NOON: u64 = 1_768_485_600 * SECOND;
const VENUES: [(&str, &str); 4] = [
    ("binance", "stream.binance.us"),
    ("coinbase", "advanced-trade-ws.coinbase.com"),
    ("kraken", "ws.kraken.com"),
    ("kucoin", "ws-api-spot.kucoin.com"),
];
const INSTRUMENTS: [(&str, f64); 4] = [
    ("BTC/USD", 64_213.4),
    ("ETH/USD", 3_412.18),
    ("SOL/USD", 148.73),
    ("XRP/USD", 0.5231),
];

/// SplitMix64 (Steele, Lea and Flood 2014): enough randomness for a picture.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in −1 to 1.
    fn swing(&mut self) -> f64 {
        self.unit() * 2.0 - 1.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl Snapshot {
    /// An invented snapshot; the same seed gives the same one.
    #[doc(hidden)]
    #[must_use]
    pub fn demo(seed: u64) -> Self {
        Self::demo_at(seed, 0)
    }

    /// The invented snapshot `tick` quarter seconds later.
    #[doc(hidden)]
    #[must_use]
    pub fn demo_at(seed: u64, tick: u64) -> Self {
        let now = NOON + 213 * SECOND + tick * SECOND / 4;
        let started = NOON - 187_443 * SECOND;
        let mut snapshot = Self::empty("PAPER", "raspberrypi", "0.1.0", started);
        snapshot.now_ns = now;
        snapshot.schema_id = "9f3c61d04be7a825".to_owned();
        snapshot.config_hash = "41ce0a7732fb9d10".to_owned();
        snapshot.health = Health {
            ready: true,
            ..Health::default()
        };
        snapshot.account = account(seed, now);
        snapshot.positions = positions(&mut Dice(seed ^ tick));
        snapshot.orders = trading::orders(tick);
        snapshot.fills = trading::fills(&mut Dice(seed), now);
        snapshot.fill_counts = trading::fill_counts(tick);
        snapshot.attribution = trading::attribution();
        snapshot.performance = trading::performance(started);
        snapshot.funding = signals::funding(now);
        snapshot.risk = trading::risk(now);
        snapshot.reconciliation = trading::reconciliation(now, tick);
        snapshot.paper = trading::paper();
        snapshot.decisions = decisions(&mut Dice(seed + 1), now);
        snapshot.venues = venues(&mut Dice(seed ^ tick), now, tick);
        snapshot.books = books(&mut Dice(seed.wrapping_add(tick)), now, tick);
        snapshot.gaps = gaps(&mut Dice(seed + 2), now);
        snapshot.alarms = alarms(now);
        snapshot.features = signals::features(&mut Dice(seed.wrapping_add(tick)));
        snapshot.arbitrage = signals::arbitrage(now, tick);
        snapshot.spreads = signals::spreads(&mut Dice(seed.wrapping_add(tick)));
        snapshot.quality = data::quality(now);
        snapshot.drift = data::drift(now);
        snapshot.system = system(&mut Dice(seed ^ tick), now - started, tick);
        snapshot.halts = halts(now);
        snapshot.model = Model {
            name: "imbalance".to_owned(),
            kind: "baseline".to_owned(),
            version: "0.1.0".to_owned(),
            age_s: Some(187_443),
            expires_in_s: None,
        };
        snapshot.bound();
        snapshot
    }
}

fn account(seed: u64, now: u64) -> Account {
    let mut dice = Dice(seed);
    let mut equity = 10_000.0;
    let mut history = Vec::with_capacity(EQUITY_POINTS);
    let step = 30 * SECOND;
    let first = now / step - EQUITY_POINTS as u64 + 1;
    for i in 0..EQUITY_POINTS as u64 {
        equity += 1.6 * dice.swing() + 0.09 + if i % 97 == 60 { -7.0 } else { 0.0 };
        history.push(((first + i) * step, (equity * 100.0_f64).round() / 100.0));
    }
    let high = history.iter().map(|(_, e)| *e).fold(f64::MIN, f64::max) + 4.2;
    Account {
        currency: "USD".to_owned(),
        equity: Some(equity),
        cash: Some(equity - 412.65),
        drawdown_pct: Some((1.0 - equity / high) * 100.0),
        high_water_mark: Some(high),
        day_pnl: Some(equity - 10_000.0),
        realised: Some(71.44),
        unrealised: Some(-3.18),
        fees: Some(18.27),
        equity_history: history,
    }
}

fn positions(dice: &mut Dice) -> Vec<Position> {
    let rows = [
        (0, 0, "long", "0.00412"),
        (2, 1, "long", "1.05"),
        (1, 2, "short", "0.031"),
    ];
    rows.iter()
        .map(|&(instrument, venue, side, qty)| {
            let (name, base) = INSTRUMENTS[instrument];
            let mark = base * (1.0 + 0.0002 * dice.swing());
            let quantity: f64 = qty.parse().unwrap_or(0.0);
            let sign = if side == "long" { 1.0 } else { -1.0 };
            Position {
                instrument: name.to_owned(),
                venue: VENUES[venue].0.to_owned(),
                side: side.to_owned(),
                qty: qty.to_owned(),
                avg_price: Some(base),
                // The third venue's book is stale: no mark, hence no profit and no notional.
                mark: (venue != 2).then_some(mark),
                unrealised: (venue != 2).then_some(sign * quantity * (mark - base)),
                notional: (venue != 2).then_some(quantity * mark),
            }
        })
        .collect()
}

fn decisions(dice: &mut Dice, now: u64) -> Vec<Decision> {
    let base = now / SECOND * SECOND;
    let denials = [
        ("book_stale", "kraken ETH/USD has been stale for 41 s"),
        (
            "position_cap",
            "BTC/USD would be 26.1 % of equity; the cap is 25 %",
        ),
        ("spread", "spread 9.4 bps is above the limit of 8 bps"),
    ];
    (0..DECISIONS as u64)
        .map(|i| {
            let action = ["sell", "hold", "hold", "buy"][dice.below(4) as usize];
            let denied = action != "hold" && dice.below(4) == 0;
            let (code, reason) = denials[dice.below(3) as usize];
            Decision {
                ns: base - i * SECOND,
                instrument: INSTRUMENTS[(i % 4) as usize].0.to_owned(),
                action: action.to_owned(),
                size: (action != "hold").then(|| 0.02 + 0.18 * dice.unit()),
                confidence: Some(0.34 + 0.6 * dice.unit()),
                expected_bps: (action != "hold").then(|| 3.0 * dice.swing()),
                verdict: if denied {
                    Verdict::Denied {
                        code: code.to_owned(),
                        reason: reason.to_owned(),
                    }
                } else {
                    Verdict::Allowed
                },
                latency_us: 38 + dice.below(90),
            }
        })
        .collect()
}

fn venues(dice: &mut Dice, now: u64, tick: u64) -> Vec<Venue> {
    VENUES
        .iter()
        .enumerate()
        .map(|(i, &(name, host))| {
            let down = i == 3;
            Venue {
                name: name.to_owned(),
                host: host.to_owned(),
                state: if down { "backoff" } else { "live" }.to_owned(),
                reason: down.then(|| "connection reset by peer; next try in 8 s".to_owned()),
                connected_since_ns: (!down).then_some(NOON - 4_000 * (i as u64 + 1) * SECOND),
                reconnects: [1, 0, 2, 7][i],
                last_message_ns: Some(if down {
                    NOON + 172 * SECOND
                } else {
                    now - dice.below(180) * 1_000_000
                }),
                frames: 4_182_211 / (i as u64 + 1) + if down { 0 } else { tick * 61 },
                bytes: 1_204_118_002 / (i as u64 + 1) + if down { 0 } else { tick * 18_113 },
                latency_p50_ms: (!down).then(|| [23.4, 41.8, -3.1, 0.0][i] + 0.4 * dice.swing()),
                latency_p99_ms: (!down).then(|| [61.0, 118.2, 22.6, 0.0][i] + dice.swing()),
                clock_offset_ms: [Some(-4.2), Some(11.9), Some(-38.4), None][i],
                parse_errors: [0, 0, 0, 1][i],
                resyncs: [2, 0, 5, 9][i],
            }
        })
        .collect()
}

fn books(dice: &mut Dice, now: u64, tick: u64) -> Vec<Book> {
    let mut out = Vec::new();
    for (v, &(venue, _)) in VENUES.iter().enumerate() {
        for (i, &(instrument, base)) in INSTRUMENTS.iter().enumerate() {
            let stale = match (v, i) {
                (2, 1) => Some("checksum 2847110934 expected, 1190287745 computed"),
                (3, _) => Some("disconnected from ws-api-spot.kucoin.com"),
                _ => None,
            };
            let live = stale.is_none();
            let half = base * 0.00004 * (1.0 + dice.unit() * i as f64);
            let mid = base * (1.0 + 0.0002 * dice.swing());
            let decimals = [1, 2, 3, 5][i];
            let mut quote = |at: f64| Quote {
                price: format!("{at:.decimals$}"),
                qty: format!("{:.4}", 900.0 / base * (0.2 + 6.0 * dice.unit())),
            };
            let (bid, ask) = (quote(mid - half), quote(mid + half));
            out.push(Book {
                instrument: instrument.to_owned(),
                venue: venue.to_owned(),
                live,
                stale_reason: stale.map(str::to_owned),
                since_ns: if live {
                    NOON - 3_600 * (v as u64 + 1) * SECOND
                } else {
                    now - 41 * SECOND
                },
                best_bid: live.then_some(bid),
                best_ask: live.then_some(ask),
                spread_bps: live.then_some(half * 2.0 / mid * 10_000.0),
                mid: live.then_some(mid),
                imbalance: live.then(|| dice.swing()),
                depth: if live {
                    [100 + dice.below(900), 100 + dice.below(900)]
                } else {
                    [0, 0]
                },
                gaps: GapCounts {
                    sequence: if v == 3 { 4 } else { 0 },
                    checksum: if v == 2 { (i == 1).into() } else { 0 },
                    crossed: (v == 0 && i == 3).into(),
                    disconnect: [1, 0, 2, 7][v],
                    ..GapCounts::default()
                },
                checksums_verified: if v == 2 { 812_334 / (i as u64 + 1) } else { 0 },
                checksums_failed: (v == 2 && i == 1).into(),
                bbo_equal: if v == 0 { 603_118 / (i as u64 + 1) } else { 0 },
                bbo_different: 0,
                events: 1_021_337 / (i as u64 + 1) / (v as u64 + 1)
                    + if live { tick * 17 } else { 0 },
                trades: 18_443 / (i as u64 + 1) / (v as u64 + 1),
            });
        }
    }
    out
}

fn gaps(dice: &mut Dice, now: u64) -> Vec<Gap> {
    let base = now / (60 * SECOND) * 60 * SECOND;
    (0..23)
        .map(|i| {
            let kind = ["sequence", "disconnect", "checksum", "crossed"][dice.below(4) as usize];
            let sequence = 88_211_000 + dice.below(90_000);
            let (expected, got) = match kind {
                "sequence" => (
                    sequence.to_string(),
                    (sequence + 2 + dice.below(9)).to_string(),
                ),
                "checksum" => (
                    dice.below(1 << 32).to_string(),
                    dice.below(1 << 32).to_string(),
                ),
                "crossed" => ("bid < ask".to_owned(), "64213.4 ≥ 64213.2".to_owned()),
                _ => ("a frame".to_owned(), "end of stream".to_owned()),
            };
            Gap {
                ns: base - i * 1_311 * SECOND - dice.below(900) * SECOND,
                venue: VENUES[dice.below(4) as usize].0.to_owned(),
                instrument: INSTRUMENTS[dice.below(4) as usize].0.to_owned(),
                kind: kind.to_owned(),
                expected,
                got,
                duration_ms: (i > 0).then(|| 80 + dice.below(4_000)),
            }
        })
        .collect()
}

fn alarms(now: u64) -> Vec<Alarm> {
    let base = now / (60 * SECOND) * 60 * SECOND;
    [
        (
            41,
            "warning",
            "venue_down",
            "kucoin: connection reset by peer, 7th reconnection since start",
        ),
        (
            4_100,
            "info",
            "resync",
            "kraken ETH/USD resynchronised in 412 ms",
        ),
        (
            9_900,
            "critical",
            "checksum",
            "kraken ETH/USD: book and checksum disagree; book set aside",
        ),
    ]
    .iter()
    .map(|&(ago, severity, code, text)| Alarm {
        ns: base - ago * SECOND,
        severity: severity.to_owned(),
        code: code.to_owned(),
        text: text.to_owned(),
    })
    .collect()
}

fn system(dice: &mut Dice, uptime_ns: u64, tick: u64) -> System {
    System {
        rss_bytes: Some(18_432_000 + dice.below(90_000)),
        anon_bytes: Some(6_104_000),
        cpu_temp_c: Some(51.5 + dice.swing()),
        disk_written_bytes_per_day: Some(1_012_000_000),
        journal: Journal {
            events: 91_220_417 + tick * 140,
            bytes: 2_190_441_772 + tick * 1_613,
            dropped: 0,
            suspended: None,
        },
        features: Some(FeatureStore {
            vectors: 1_104_380 + tick * 16 / 10,
            bytes: 690_241_536 + tick * 1_024,
            dropped: 0,
            deleted_blocks: 0,
            oldest_ns: Some(NOON - 16 * 86_400 * SECOND),
            newest_ns: Some(NOON + tick * SECOND),
            suspended: None,
        }),
        channels: [
            ("frames → desk", 4096),
            ("desk → journal", 1024),
            ("desk → page", 1),
        ]
        .iter()
        .map(|&(name, capacity)| Channel {
            name: name.to_owned(),
            depth: dice.below(capacity / 8 + 1),
            capacity,
        })
        .collect(),
        frame_to_features_p50_us: Some(2.9 + 0.2 * dice.swing()),
        frame_to_features_p99_us: Some(11.4 + dice.swing()),
        uptime_s: uptime_ns / SECOND,
        threads: Some(7),
    }
}

fn halts(now: u64) -> Vec<Halt> {
    vec![Halt {
        scope: "venue".to_owned(),
        what: "kucoin".to_owned(),
        why: "no connection for more than 30 s".to_owned(),
        since_ns: now / (60 * SECOND) * 60 * SECOND - 11 * SECOND,
        how_to_clear: "clears itself when every book of the venue is live again".to_owned(),
    }]
}
