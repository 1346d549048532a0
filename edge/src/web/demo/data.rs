//! Invented quality and drift.

use super::SECOND;
use crate::web::snapshot::{Drift, DriftedFeature, Finding, Market, Quality};

fn market(venue: &str, instrument: &str) -> Market {
    Market {
        venue: venue.to_owned(),
        instrument: instrument.to_owned(),
    }
}

/// One that is clean, one that is not, one that nobody has heard of.
pub(super) fn quality(now: u64) -> Vec<Quality> {
    vec![
        Quality {
            market: market("kraken", "BTC/USD"),
            score_ppm: Some(999_987),
            events: 1_204_331,
            flawed: 16,
            findings: vec![
                Finding {
                    kind: "gap".to_owned(),
                    count: 14,
                    last_ns: now - 73 * SECOND,
                },
                Finding {
                    kind: "duplicate_trade".to_owned(),
                    count: 2,
                    last_ns: now - 4_000 * SECOND,
                },
            ],
            ..Quality::default()
        },
        Quality {
            market: market("kucoin-uta", "SOL-USDT"),
            score_ppm: Some(991_400),
            events: 50_000,
            flawed: 430,
            stale: true,
            ..Quality::default()
        },
        Quality {
            market: market("coinbase-advanced", "XRP-USD"),
            ..Quality::default()
        },
    ]
}

/// One that is away from its reference.
pub(super) fn drift(now: u64) -> Vec<Drift> {
    vec![Drift {
        market: market("kraken", "BTC/USD"),
        level: "drifted".to_owned(),
        since_ns: Some(now - 900 * SECOND),
        updates: 4_200,
        counts: [2, 40, 4, 18],
        features: vec![DriftedFeature {
            name: "spread".to_owned(),
            level: "drifted".to_owned(),
            why: "mean".to_owned(),
            deviations: Some(3.4),
            psi: Some(0.81),
        }],
    }]
}
