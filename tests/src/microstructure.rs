//! VPIN and Kyle's λ on recorded markets, against a direct computation from their papers' formulas.
//!
//! The recorded frames go through the session, the synchroniser and the engine, as they do live. What
//! the engine was told (trades, and the mid after each record) is kept, and everything is computed
//! from these lists again, second after second, over whole windows.

use std::collections::VecDeque;
use std::path::PathBuf;

use tickerml_edge::venue::session::Session;
use tickerml_shared::engine::{Engine, Setup};
use tickerml_shared::event::{Body, Event, Record, Side, Trade};
use tickerml_shared::features::impact::Impact;
use tickerml_shared::features::second::{Second, Trades};
use tickerml_shared::features::toxicity::{Classification, Vpin};
use tickerml_shared::features::{Table, features};
use tickerml_shared::instrument::{InstrumentId, Venue};
use tickerml_shared::synchroniser::{HOLD_NS, Synchroniser};
use tickerml_shared::time::{SECONDS, Time};

use crate::captures::{lines, recorded};

/// How far a value may be from the direct one, relative to it.
const TOLERANCE: f64 = 1e-9;
const SPOT: &[&str] = &[
    "hftbacktest-binance-raw/spot_btcusdt_20240808.jsonl.gz",
    "hftbacktest-binance-raw/spot_btcusdt_20240809.jsonl.gz",
];
const USDM: &[&str] = &["hftbacktest-binance-raw/usdm_btcusdt_20240808.jsonl.gz"];

/// What a market did in a second, and the table of features as it stood when that was known; without
/// one where a second without events followed.
#[derive(Clone, Debug, Default)]
struct Observed {
    trades: Vec<Trade>,
    double_mid: i64,
    table: Option<Table>,
}

/// The seconds of a recorded market from the one in which its book came up.
fn observe(venue: Venue, names: &[&str]) -> Option<Vec<Observed>> {
    let paths: Option<Vec<PathBuf>> = names.iter().map(|name| recorded(name)).collect();
    let lines: Vec<String> = paths?.iter().flat_map(|path| lines(path)).collect();
    let frames = lines.iter().map(|line| {
        let (stamp, frame) = line.split_once(' ').expect("a stamp");
        (Time(stamp.parse().expect("nanoseconds")), frame)
    });
    let mut session = Session::capture(venue);
    for (received, frame) in frames.clone() {
        session.handle_frame(received, frame);
        while session.poll_update().is_some() {}
    }
    let listings = session.reader().listings().iter();
    let mut engine = Engine::new(Setup::market_only(
        listings.map(|listing| listing.instrument.clone()).collect(),
    ));
    let (mut session, mut synchroniser) = (Session::capture(venue), Synchroniser::new(HOLD_NS));
    let (mut seconds, mut first, mut seq) = (Vec::<Observed>::new(), None, 0);
    let mut now = Time(1);
    for (received, frame) in frames {
        now = now.max(received);
        session.handle_frame(now, frame);
        while let Some(update) = session.poll_update() {
            synchroniser.push(update, now);
        }
        while let Some(update) = synchroniser.poll(now) {
            seq += 1;
            let trade = match &update.body {
                Body::Trade(trade) => Some(*trade),
                Body::Gap(gap) => panic!("{names:?}: {gap:?}"),
                _ => None,
            };
            let event = Event::Market(update);
            engine.handle(&Record {
                seq,
                at: now,
                event,
            });
            while engine.poll().is_some() {}
            let Some(double_mid) = engine.cells()[0].book.double_mid() else {
                continue;
            };
            let place = now.0 / SECONDS - *first.get_or_insert(now.0 / SECONDS);
            let place = usize::try_from(place).expect("few");
            // The second before has just been closed, and no other with it.
            if place == seconds.len()
                && let Some(last) = seconds.last_mut()
            {
                last.table = engine.table(InstrumentId(0));
            }
            while seconds.len() <= place {
                let double_mid = seconds.last().map_or(0, |last| last.double_mid);
                seconds.push(Observed {
                    double_mid,
                    ..Observed::default()
                });
            }
            let second = seconds.last_mut().expect("just pushed");
            second.trades.extend(trade);
            second.double_mid = double_mid;
        }
    }
    // The last one never ended.
    seconds.pop();
    let read = seconds.iter().filter(|second| second.table.is_some());
    assert!(
        2 * read.count() > seconds.len(),
        "most seconds have a table"
    );
    Some(seconds)
}

/// The second as the features are told of it.
fn closed(number: usize, observed: &Observed) -> Second {
    let mut trades: Option<Trades> = None;
    for trade in &observed.trades {
        match &mut trades {
            Some(trades) => trades.add(&Trades::of(trade)),
            None => trades = Some(Trades::of(trade)),
        }
    }
    Second {
        number: number as u64,
        seen: number > 0,
        double_mid: Some(observed.double_mid),
        trades,
    }
}

fn place(name: &str) -> usize {
    let found = features().find(|feature| feature.is_called(name));
    found.expect("a feature").place
}

/// Our value against the direct one, and the table against ours to the bit.
fn agree(name: &str, second: usize, observed: &Observed, ours: Option<f64>, direct: Option<f64>) {
    assert_eq!(
        ours.is_some(),
        direct.is_some(),
        "{name} in second {second}"
    );
    if let (Some(ours), Some(direct)) = (ours, direct) {
        let off = (ours - direct).abs();
        assert!(
            off <= TOLERANCE * direct.abs(),
            "{name} in second {second}: {ours}, directly {direct}"
        );
    }
    if let Some(table) = &observed.table {
        let shown = table.get(place(name));
        assert_eq!(shown, ours.map(|ours| ours as f32), "{name} in {second}");
    }
}

fn volume(trades: &[Trade]) -> i64 {
    trades.iter().map(|trade| trade.qty.0).sum()
}

fn bought(trades: &[Trade]) -> i64 {
    let buys = trades.iter().filter(|trade| trade.aggressor == Side::Buy);
    buys.map(|trade| trade.qty.0).sum()
}

/// The distribution function of the standard normal, by Simpson's rule.
fn normal(z: f64) -> f64 {
    const STEPS: i32 = 4_000;
    let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let z_in = z.clamp(-9.0, 9.0);
    let width = z_in / f64::from(STEPS);
    let inner: f64 = (1..STEPS)
        .map(|step| f64::from(2 + 2 * (step % 2)) * density(f64::from(step) * width))
        .sum();
    0.5 + width / 3.0 * (density(0.0) + inner + density(z_in))
}

/// VPIN of bulk classification and of aggressors at the end of each second: buckets of equal volume
/// filled by one-second bars, `V^B = V·Φ(ΔP/σ)`, `VPIN = Σ|V^S - V^B| / ΣV` over fifty buckets, whose
/// size is the mean volume of six seconds.
fn direct_vpin(seconds: &[Observed]) -> Vec<Option<[f64; 2]>> {
    let (mut changes, mut volumes) = (Vec::<f64>::new(), Vec::<i64>::new());
    let mut before: Option<i64> = None;
    let (mut size, mut closed) = (0, 0);
    let (mut open_size, mut parts) = (0, Vec::<(i64, [f64; 2])>::new());
    let mut buckets = VecDeque::<(i64, [f64; 2])>::new();
    let mut values = vec![None];
    for second in &seconds[1..] {
        let total = volume(&second.trades);
        volumes.push(total);
        if let Some(last) = second.trades.last() {
            if let Some(before) = before {
                changes.push((last.price.0 - before) as f64);
                let window = &changes[changes.len().saturating_sub(300)..];
                let mean = window.iter().sum::<f64>() / window.len() as f64;
                let squares: f64 = window.iter().map(|change| (change - mean).powi(2)).sum();
                let deviation = (squares / (window.len() as f64 - 1.0)).sqrt();
                let change = changes[changes.len() - 1];
                let shares = [
                    normal(change / deviation),
                    bought(&second.trades) as f64 / total as f64,
                ];
                let mut rest = if size > 0 { total } else { 0 };
                while rest > 0 {
                    if parts.is_empty() {
                        open_size = size;
                    }
                    let filled: i64 = parts.iter().map(|part| part.0).sum();
                    let part = rest.min(open_size - filled);
                    parts.push((part, shares));
                    rest -= part;
                    if filled + part == open_size {
                        let imbalance = |by: usize| {
                            let bought =
                                parts.iter().map(|(part, shares)| *part as f64 * shares[by]);
                            let sold = parts
                                .iter()
                                .map(|(part, shares)| *part as f64 * (1.0 - shares[by]));
                            (sold.sum::<f64>() - bought.sum::<f64>()).abs()
                        };
                        buckets.push_back((open_size, [imbalance(0), imbalance(1)]));
                        parts.clear();
                        closed += 1;
                    }
                }
            }
            before = Some(last.price.0);
        }
        let window = &volumes[volumes.len().saturating_sub(300)..];
        if window.len().min(changes.len()) >= 30 && (size == 0 || closed >= 50) {
            let traded: i64 = window.iter().sum();
            size = traded * 300 / (window.len() as i64 * 50);
            closed = 0;
        }
        while buckets.len() > 50 {
            buckets.pop_front();
        }
        values.push((buckets.len() == 50).then(|| {
            let volume: i64 = buckets.iter().map(|bucket| bucket.0).sum();
            [0, 1].map(|by| buckets.iter().map(|bucket| bucket.1[by]).sum::<f64>() / volume as f64)
        }));
    }
    values
}

fn check_vpin(venue: Venue, names: &[&str], least: usize) {
    let Some(seconds) = observe(venue, names) else {
        return;
    };
    let (mut vpin, mut known, mut sum) = (Vpin::<300>::new(), 0, [0.0; 2]);
    let direct = direct_vpin(&seconds);
    for (number, (observed, direct)) in seconds.iter().zip(direct).enumerate().skip(1) {
        vpin.bar(closed(number, observed).trades.as_ref());
        for (place, by, name) in [
            (0, Classification::Bulk, "vpin_5m_bulk"),
            (1, Classification::Aggressor, "vpin_5m_aggressor"),
        ] {
            let (ours, direct) = (vpin.value(by), direct.map(|both| both[place]));
            agree(name, number, observed, ours, direct);
            sum[place] += ours.unwrap_or(0.0);
        }
        known += usize::from(direct.is_some());
    }
    assert!(known >= least, "{known} seconds with a value");
    let [bulk, aggressor] = sum.map(|sum| sum / known as f64);
    println!(
        "{venue}: VPIN known in {known} of {} seconds, mean {bulk:.4} bulk, {aggressor:.4} by aggressor",
        seconds.len()
    );
}

/// λ for the mean volume of a second, R² and t of `Δm = a + λ·q` from the normal equations.
fn direct_kyle(seconds: &[Observed]) -> [f64; 3] {
    let n = 300.0;
    let points: Vec<(f64, f64)> = seconds
        .windows(2)
        .map(|pair| {
            let moved = (pair[1].double_mid as f64 / pair[0].double_mid as f64).ln() * 1e4;
            let trades = &pair[1].trades;
            ((2 * bought(trades) - volume(trades)) as f64, moved)
        })
        .collect();
    assert_eq!(points.len(), 300);
    let sum = |of: fn(f64, f64) -> f64| points.iter().map(|(x, y)| of(*x, *y)).sum::<f64>();
    let (x, y) = (sum(|x, _| x), sum(|_, y| y));
    let (xx, xy) = (sum(|x, _| x * x), sum(|x, y| x * y));
    let determinant = n * xx - x * x;
    let slope = (n * xy - x * y) / determinant;
    let intercept = (xx * y - x * xy) / determinant;
    let residual = |(x, y): &(f64, f64)| (y - intercept - slope * x).powi(2);
    let residuals: f64 = points.iter().map(residual).sum();
    let total: f64 = points.iter().map(|(_, of)| (of - y / n).powi(2)).sum();
    // The slope's place in σ²·(X'X)⁻¹.
    let error = (residuals / (n - 2.0) * n / determinant).sqrt();
    let traded: i64 = seconds[1..]
        .iter()
        .map(|second| volume(&second.trades))
        .sum();
    [
        slope * (traded as f64 / n),
        1.0 - residuals / total,
        slope / error,
    ]
}

fn check_kyle(venue: Venue, names: &[&str], least: usize) {
    let Some(seconds) = observe(venue, names) else {
        return;
    };
    let (mut impact, mut known, mut last) = (Impact::new(), 0, [0.0; 3]);
    for (number, observed) in seconds.iter().enumerate() {
        impact.second(&closed(number, observed));
        if number == 0 {
            continue;
        }
        let fit = impact.kyle();
        let ours = fit.map(|fit| [fit.slope, fit.r2, fit.t]);
        let direct = (number >= 300).then(|| direct_kyle(&seconds[number - 300..=number]));
        for (place, name) in ["kyle_lambda_300s", "kyle_r2_300s", "kyle_t_300s"]
            .into_iter()
            .enumerate()
        {
            let (ours, direct) = (ours.map(|all| all[place]), direct.map(|all| all[place]));
            agree(name, number, observed, ours, direct);
        }
        known += usize::from(direct.is_some());
        last = direct.unwrap_or(last);
    }
    assert!(known >= least, "{known} seconds with a value");
    let [lambda, r2, t] = last;
    println!(
        "{venue}: λ known in {known} of {} seconds, at the end {lambda:.4} bps for a second's volume, R² {r2:.3}, t {t:.2}",
        seconds.len()
    );
}

#[test]
fn vpin_equals_a_direct_computation_on_binance_spot() {
    check_vpin(Venue::Binance, SPOT, 200);
}

#[test]
fn vpin_equals_a_direct_computation_on_binance_usdm() {
    check_vpin(Venue::BinanceUsdm, USDM, 50);
}

#[test]
fn kyles_lambda_equals_a_direct_computation_on_binance_spot() {
    check_kyle(Venue::Binance, SPOT, 300);
}

#[test]
fn kyles_lambda_equals_a_direct_computation_on_binance_usdm() {
    check_kyle(Venue::BinanceUsdm, USDM, 40);
}
