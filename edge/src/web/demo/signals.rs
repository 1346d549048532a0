//! Invented features, opportunities, spreads and funding.

use super::super::snapshot::*;
use super::{Dice, INSTRUMENTS, NOON, SECOND, VENUES};

/// Groups, and of each the names and units of its features.
const FEATURES: [(&str, &[&str], &str); 11] = [
    (
        "book",
        &[
            "book_imbalance_1",
            "book_imbalance_5",
            "book_imbalance_10",
            "book_imbalance_near",
            "weighted_mid_deviation",
            "microprice_deviation",
            "spread",
            "spread_ticks",
            "slope_imbalance",
            "depth_10",
        ],
        "ratio",
    ),
    (
        "order_flow",
        &[
            "order_flow_imbalance_1s",
            "order_flow_imbalance_10s",
            "order_flow_imbalance_60s",
            "order_flow_imbalance_integrated_10s",
            "queue_up_probability",
        ],
        "ratio",
    ),
    (
        "liquidity",
        &["depth_recovery_60s", "spread_reversion_60s", "staleness"],
        "s",
    ),
    (
        "flow",
        &[
            "trade_flow_1s",
            "trade_flow_10s",
            "trade_flow_60s",
            "trade_flow_300s",
            "vwap_deviation_60s",
            "vwap_deviation_300s",
            "log_trade_rate_10s",
            "trade_sign_persistence_100",
        ],
        "ratio",
    ),
    (
        "intensity",
        &[
            "intensity_imbalance_fast",
            "intensity_imbalance_slow",
            "trade_burst",
        ],
        "ratio",
    ),
    ("toxicity", &["vpin_5m_bulk", "vpin_5m_aggressor"], "share"),
    (
        "impact",
        &["kyle_lambda_300s", "kyle_r2_300s", "amihud_300s"],
        "bps",
    ),
    (
        "volatility",
        &[
            "realised_volatility_60s",
            "realised_volatility_300s",
            "realised_volatility_3600s",
            "jump_share_300s",
            "semivariance_asymmetry_300s",
        ],
        "bps",
    ),
    (
        "regime",
        &[
            "volatility_regime_3600s",
            "variance_ratio_5_300s",
            "trend_regime",
            "run_length_short",
        ],
        "score",
    ),
    (
        "cross",
        &[
            "cross_venue_deviation",
            "cross_consolidated_spread",
            "cross_deviation_score_60s",
            "lead_lag_ratio",
            "leader_return_1s",
            "cross_perpetual_basis",
            "funding_rate",
            "funding_time_left_share",
        ],
        "bps",
    ),
    (
        "indicators",
        &[
            "rsi_14@1m",
            "rsi_14@15m",
            "macd_histogram@1m",
            "macd_histogram@1h",
            "bollinger_percent_b@1m",
            "bollinger_percent_b@1h",
            "natr_14@1h",
            "adx_14@15m",
            "ema_26@1m",
            "ema_26@1h",
            "sma_20@4h",
            "roc_10@1d",
            "obv_change_14@5m",
        ],
        "percent",
    ),
];

fn market(venue: usize, instrument: usize) -> Market {
    Market {
        venue: VENUES[venue].0.to_owned(),
        instrument: INSTRUMENTS[instrument].0.to_owned(),
    }
}

/// 64 features of 16 instruments; those of the venue that is down are not known, nor are those on
/// bars of an hour and more of one that is young.
pub(super) fn features(dice: &mut Dice) -> FeatureTable {
    let places: Vec<(usize, usize)> = (0..INSTRUMENTS.len())
        .flat_map(|instrument| (0..VENUES.len()).map(move |venue| (venue, instrument)))
        .collect();
    let mut rows = Vec::new();
    for (group, names, unit) in FEATURES {
        for name in names {
            let young = ["@1h", "@4h", "@1d"].iter().any(|end| name.ends_with(end));
            let value = |&(venue, _): &(usize, usize)| {
                (venue != 3 && !(young && venue == 2)).then(|| 4.0 * dice.swing())
            };
            rows.push(FeatureRow {
                name: (*name).to_owned(),
                group: group.to_owned(),
                unit: unit.to_owned(),
                values: places.iter().map(value).collect(),
            });
        }
    }
    FeatureTable {
        instruments: places.iter().map(|&(v, i)| market(v, i)).collect(),
        rows,
    }
}

pub(super) fn arbitrage(now: u64, tick: u64) -> Arbitrage {
    let gain = |qty: &str, net: f64, net_bps: f64, cut: bool| Gain {
        qty: qty.to_owned(),
        net,
        net_bps,
        cut,
    };
    let base = |id: u64, buy: Market, sell: Market| Opportunity {
        id,
        buy,
        sell,
        currency: "USD".to_owned(),
        ..Opportunity::default()
    };
    let done = |filled: bool, bought: &str, sold: &str, unhedged: &str, net: f64| Trial::Done {
        filled,
        bought: bought.to_owned(),
        sold: sold.to_owned(),
        unhedged: unhedged.to_owned(),
        net,
    };
    let lasts = 3_140 + 250 * (tick % 12);
    let open = vec![
        Opportunity {
            opened_ns: now - lasts * 1_000_000,
            lifetime_ms: lasts,
            last: gain("0.0412", 0.37, 1.39, false),
            best: gain("0.0520", 0.61, 1.83, false),
            ..base(1_207, market(1, 0), market(0, 0))
        },
        Opportunity {
            opened_ns: now - 410_000_000,
            lifetime_ms: 410,
            last: gain("181.5", 2.84, 10.51, true),
            best: gain("181.5", 2.84, 10.51, true),
            ..base(1_208, market(2, 2), market(1, 2))
        },
    ];
    let causes = ["price", "price", "stale", "gap", "price"];
    let trials = [
        done(true, "0.0310", "0.0310", "0", 0.22),
        done(false, "0.0310", "0.0185", "0.0125", 0.13),
        done(false, "0", "0", "0", 0.0),
        Trial::Lost,
        Trial::Pending,
    ];
    let closed = (0..CLOSED_OPPORTUNITIES as u64).map(|i| {
        let which = (i as usize + 4) % 5;
        Opportunity {
            opened_ns: NOON - i * 311 * SECOND,
            lifetime_ms: 40 + 331 * (i % 7),
            last: gain("0.0310", 0.02, 0.1, false),
            best: gain("0.0310", 0.31, 1.56, false),
            closed: Some(causes[which].to_owned()),
            trial: trials[which].clone(),
            ..base(
                1_206 - i,
                market((i % 3) as usize, 0),
                market(((i + 1) % 3) as usize, 0),
            )
        }
    });
    let pair = |buy, sell, opened, filled| ArbitragePair {
        buy,
        sell,
        currency: "USD".to_owned(),
        opened,
        closed: opened - 1,
        lifetime_mean_ms: (opened > 1).then_some(734),
        lifetime_median_ms: (opened > 1).then_some(512),
        net: 0.33 * (opened - 1) as f64,
        tried: opened - 1,
        filled,
        tried_net: 0.04 * filled as f64 - 0.9,
    };
    Arbitrage {
        watched: 48,
        opened: 1_208,
        dropped: 3,
        open,
        closed: closed.collect(),
        pairs: vec![
            pair(market(1, 0), market(0, 0), 811, 204),
            pair(market(0, 0), market(2, 0), 396, 31),
            pair(market(2, 2), market(1, 2), 1, 0),
        ],
    }
}

pub(super) fn spreads(dice: &mut Dice) -> Vec<Spreads> {
    let asset = |(i, (name, _)): (usize, &(&str, f64))| {
        let mids: Vec<Option<f64>> = (0..VENUES.len())
            .map(|venue| (venue != 3).then(|| 2.0 * dice.swing()))
            .collect();
        let against = mids.iter().enumerate().map(|(one, here)| {
            let others = mids.iter().enumerate().map(|(other, there)| {
                let mid_bps = (*here)? - (*there)?;
                (one != other).then_some(Spread {
                    mid_bps,
                    crossed_bps: mid_bps - 0.9,
                })
            });
            others.collect()
        });
        Spreads {
            asset: name.split('/').next().unwrap_or_default().to_owned(),
            instruments: (0..VENUES.len()).map(|venue| market(venue, i)).collect(),
            against: against.collect(),
        }
    };
    INSTRUMENTS.iter().enumerate().map(asset).collect()
}

pub(super) fn funding(now: u64) -> Vec<Funding> {
    let ns = NOON + 2 * 3_600 * SECOND;
    let (before, after) = (Timing::Before { ns }, Timing::After { ns });
    let base = |instrument: &str| Funding {
        instrument: instrument.to_owned(),
        venue: "kucoin-futures".to_owned(),
        next_ns: Some(ns),
        interval_s: Some(28_800),
        ..Funding::default()
    };
    let payer = Advice {
        enter: after,
        exit: before,
    };
    let receiver = Advice {
        enter: before,
        exit: after,
    };
    vec![
        Funding {
            rate_bps: Some(12.5),
            per_day_bps: Some(37.5),
            next_rate_bps: Some(9.75),
            level: FundingLevel::Warning,
            holding: Some(FundedHolding {
                side: "long".to_owned(),
                qty: "0.012".to_owned(),
                since_ns: Some(now - 19 * 3_600 * SECOND),
                paid: Some(0.7712),
            }),
            predicted: Some(2.9104),
            paid: 1.18,
            long: payer,
            short: receiver,
            ..base("BTC/USDT-PERP")
        },
        Funding {
            rate_bps: Some(-41.0),
            per_day_bps: Some(-123.0),
            level: FundingLevel::Blocking,
            long: receiver,
            short: payer,
            ..base("XRP/USDT-PERP")
        },
        Funding {
            instrument: "ETH/USDT-PERP".to_owned(),
            venue: "kucoin-futures".to_owned(),
            ..Funding::default()
        },
    ]
}
