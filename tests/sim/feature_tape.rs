//! Writes a store of features with invented values, for the comparison of exports (tests/export).
//!
//! The values cover what a table can hold: unknown ones, both zeros, the smallest and largest floats,
//! columns that never change and columns that always do. Nothing here resembles a market.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tickerml_edge::store::features::{FILE, FeatureStore, Vector, Version};
use tickerml_edge::store::{Probe, StoreError};
use tickerml_shared::time::SECONDS;

/// 2026-03-01 12:00:00 UTC.
const START: u64 = 1_772_366_400 * SECONDS;
const INSTRUMENTS: [&str; 3] = [
    "kraken:BTC/USD",
    "binance-us:ETHUSDT",
    "kucoin-uta:BTC-USDT",
];
/// Vectors of an instrument between durable commits.
const SYNC_EVERY: u64 = 50;

#[derive(Parser)]
#[command(about = "Write a store of features with invented values")]
struct Arguments {
    /// Folder for features.redb
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Vectors of each of three instruments
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    vectors: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match write(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "feature-tape: {}: {error}",
                arguments.out.join(FILE).display()
            );
            ExitCode::FAILURE
        }
    }
}

fn write(arguments: &Arguments) -> Result<(), StoreError> {
    let version = Version::present();
    let probe = Probe::InProcess;
    let (mut store, _) =
        FeatureStore::open(&arguments.out, START, &probe, &version, u64::from(u32::MAX))?;
    let numbers = INSTRUMENTS.map(|name| store.instrument(name));
    for step in 0..arguments.vectors {
        for (place, number) in (0_u64..).zip(&numbers) {
            let columns = 0..version.columns.len() as u64;
            let values: Vec<f32> = columns.map(|column| value(place, step, column)).collect();
            store.push(&Vector {
                instrument: number.clone()?,
                at_ns: START + step * SECONDS + place,
                values: &values,
            });
        }
        store.commit(step % SYNC_EVERY == 0)?;
    }
    store.commit(true)?;
    Ok(())
}

fn value(place: u64, step: u64, column: u64) -> f32 {
    // SplitMix64's finaliser (Steele, Lea and Flood 2014).
    let mut z = (place << 56 ^ step << 16 ^ column).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let noise = f32::from_bits((z >> 32) as u32);
    match (column + place) % 6 {
        0 if step < 60 => f32::NAN,
        0 => column as f32,
        1 if noise.is_finite() => noise,
        2 => [0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45][(z % 6) as usize],
        3 => (step / 60) as f32,
        4 if z.is_multiple_of(3) => (z % 1_000) as f32 / 7.0,
        _ => f32::NAN,
    }
}
