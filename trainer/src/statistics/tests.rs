//! The figures of the papers, and of other people's implementations.

use super::*;

fn near(got: f64, expected: f64, tolerance: f64) {
    assert!(
        (got - expected).abs() <= tolerance,
        "{got} is not {expected}"
    );
}

fn track(sharpe: f64, count: usize, skewness: f64, kurtosis: f64) -> Track {
    Track {
        count,
        sharpe,
        skewness,
        kurtosis,
    }
}

#[test]
fn the_normal_distribution_and_its_inverse_equal_scipy() {
    for (p, expected) in [
        (1e-300, -37.047_096_299_361_2),
        (1e-12, -7.034_483_825_301_131),
        (0.01, -2.326_347_874_040_840_8),
        (0.07, -1.475_791_028_179_170_6),
        (0.3, -0.524_400_512_708_041),
        (0.5, 0.0),
        (0.95, 1.644_853_626_951_472_2),
        (0.975, 1.959_963_984_540_054),
        (0.999_999, 4.753_424_308_817_087),
    ] {
        near(normal_quantile(p), expected, 4e-15 * f64::abs(expected));
    }
    for (x, expected) in [
        (-10.0, 7.619_853_024_160_47e-24),
        (-3.0, 0.001_349_898_031_630_093_3),
        (0.5, 0.691_462_461_274_013_1),
        (1.96, 0.975_002_104_851_779_5),
        (5.0, 0.999_999_713_348_428_1),
    ] {
        near(normal_cdf(x), expected, 1e-14 * expected);
    }
    assert_eq!(normal_quantile(1.0), f64::INFINITY);
    assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
    assert!(normal_quantile(1.1).is_nan());
}

/// "The Sharpe Ratio Efficient Frontier", the hedge fund with two years of monthly returns.
#[test]
fn the_probabilistic_sharpe_ratio_equals_the_papers_example() {
    near(track(0.458, 24, 0.0, 3.0).probabilistic(0.0), 0.982, 5e-4);
    let fund = |months| track(0.458, months, -2.448, 10.164).probabilistic(0.0);
    near(fund(24), 0.913, 5e-4);
    near(fund(36), 0.953, 6e-4);
}

/// The same paper: years needed to show that an annual ratio of 2 is above 1, with 95 % confidence.
#[test]
fn the_minimum_track_record_length_equals_the_papers_example() {
    for (periods, skewness, kurtosis, years) in [
        (250.0_f64, 0.0, 3.0, 2.73),
        (52.0, 0.0, 3.0, 2.83),
        (12.0, 0.0, 3.0, 3.24),
        (12.0, -0.72, 5.78, 4.99),
    ] {
        let one = track(2.0 / periods.sqrt(), 10, skewness, kurtosis);
        let length = one
            .minimum_length(1.0 / periods.sqrt(), 0.95)
            .expect("a length");
        near(length / periods, years, 5e-3);
    }
    assert_eq!(track(0.1, 10, 0.0, 3.0).minimum_length(0.1, 0.95), None);
}

/// "The Deflated Sharpe Ratio", the numerical example: an annual ratio of 2.5 over 1,250 days, the best of 100
/// trials whose annual ratios have a variance of 1/2.
#[test]
fn the_deflated_sharpe_ratio_equals_the_papers_example() {
    let variance = 0.5 / 250.0;
    near(
        expected_maximum(variance, 100).expect("a maximum"),
        0.1132,
        5e-5,
    );
    let sharpe = 2.5 / 250_f64.sqrt();
    let fat = track(sharpe, 1_250, -3.0, 10.0);
    near(fat.deflated(variance, 100).expect("a ratio"), 0.9004, 5e-5);
    near(fat.deflated(variance, 46).expect("a ratio"), 0.9505, 5e-5);
    let normal = track(sharpe, 1_250, 0.0, 3.0);
    near(
        normal.deflated(variance, 88).expect("a ratio"),
        0.9505,
        5e-5,
    );
    assert_eq!(expected_maximum(variance, 1), Ok(0.0));
    assert!(expected_maximum(variance, 0).is_err());
    assert!(expected_maximum(f64::NAN, 5).is_err());
}

#[test]
fn a_track_record_has_the_moments_of_its_returns() {
    let got = Track::of(&[0.01, 0.02, -0.01, 0.03, 0.0, -0.02, 0.05]).expect("a track");
    // numpy and scipy.stats (skew, kurtosis(fisher=False)) of the same returns.
    near(got.sharpe, 0.474_156_467_816_159_7, 1e-14);
    near(got.skewness, 0.283_360_308_048_212_55, 1e-13);
    near(got.kurtosis, 2.040_244_557_914_54, 1e-13);
    near(
        got.annualised(252.0),
        0.474_156_467_816_159_7 * 252_f64.sqrt(),
        1e-12,
    );
}

#[test]
fn what_has_no_sharpe_ratio_is_told_so_and_doing_nothing_has_zero() {
    assert_eq!(Track::of(&[0.0; 9]).expect("nothing").sharpe, 0.0);
    let wrong = |returns: &[f64]| Track::of(returns).expect_err("no ratio").to_string();
    assert!(wrong(&[0.1]).contains("at least 2"));
    assert!(wrong(&[0.1; 50]).contains("without any deviation"));
    assert!(wrong(&[0.1, f64::NAN]).contains("return 1 is NaN"));
}

/// Integers, so that every implementation has the same matrix.
fn matrix(periods: i32, strategies: i32, drift: i32) -> Vec<Vec<f64>> {
    (0..strategies)
        .map(|n| {
            (0..periods)
                .map(|t| {
                    let value =
                        (t * t * 7 + n * n * 31 + t * n * 13 + t * 3) % 101 - 50 + drift * n;
                    f64::from(value) / 1_000.0
                })
                .collect()
        })
        .collect()
}

/// RiskLabAI 2.0.1 (PyPI), `probability_of_backtest_overfitting` with the sample Sharpe ratio as metric.
#[test]
fn the_probability_of_overfitting_equals_that_of_another_implementation() {
    for (periods, strategies, blocks, drift, probability, sum) in [
        (
            48,
            5,
            4,
            0,
            0.833_333_333_333_333_4,
            -3.912_023_005_428_146_4,
        ),
        (64, 7, 8, 1, 0.242_857_142_857_142_85, 64.632_505_967_046_84),
        (160, 10, 10, 3, 0.0, 456.758_010_073_198_2),
        (90, 6, 8, 0, 0.871_428_571_428_571_4, -58.241_797_550_887_95),
    ] {
        let got = overfitting(&matrix(periods, strategies, drift), blocks).expect("a probability");
        near(got.probability, probability, 1e-12);
        near(got.logits.iter().sum(), sum, 1e-9);
    }
}

#[test]
fn a_strategy_that_is_truly_better_is_not_overfitting_and_copies_are_a_coin_flip() {
    let mut better = matrix(160, 4, 0);
    for value in &mut better[2] {
        *value += 0.05;
    }
    let got = overfitting(&better, 8).expect("a probability");
    assert_eq!((got.probability, got.loss), (0.0, 0.0));
    let copies = vec![better[0].clone(); 4];
    let got = overfitting(&copies, 8).expect("a probability");
    assert!(got.logits.iter().all(|logit| logit.abs() < 1e-12));
    let still = vec![vec![0.0; 32]; 3];
    assert_eq!(overfitting(&still, 4).expect("nothing").slope, 0.0);
}

#[test]
fn overfitting_asks_for_what_it_needs() {
    let wrong = |returns: &[Vec<f64>], blocks| {
        overfitting(returns, blocks)
            .expect_err("no probability")
            .to_string()
    };
    assert!(wrong(&matrix(40, 1, 0), 4).contains("every one that was tried"));
    assert!(wrong(&matrix(40, 3, 0), 5).contains("blocks are even"));
    assert!(wrong(&matrix(40, 3, 0), 22).contains("at most 20"));
    assert!(wrong(&matrix(7, 3, 0), 4).contains("hold 2 periods"));
    assert!(wrong(&[vec![0.0; 8], vec![0.0; 9]], 2).contains("same periods"));
    assert!(wrong(&[vec![0.0; 8], vec![f64::NAN; 8]], 2).contains("not finite"));
}

#[test]
fn a_distribution_is_reported_with_its_quantiles() {
    // numpy.quantile of the same values.
    let got = Distribution::of(&[3.0, -1.0, 2.0, 0.5, -0.5, 4.0]).expect("a distribution");
    near(got.p05, -0.875, 1e-12);
    near(got.p25, -0.25, 1e-12);
    near(got.p50, 1.25, 1e-12);
    near(got.p95, 3.75, 1e-12);
    near(got.below_zero, 2.0 / 6.0, 1e-12);
    assert_eq!((got.count, got.least, got.greatest), (6, -1.0, 4.0));
    assert_eq!(
        got.to_string(),
        "median 1.250 (5 % -0.875, 25 % -0.250, 75 % 2.750, 95 % 3.750; mean 1.333, 33 % below zero, n = 6)"
    );
    let one = Distribution::of(&[2.0]).expect("a distribution");
    assert_eq!((one.p05, one.p95, one.deviation), (2.0, 2.0, 0.0));
    assert!(Distribution::of(&[]).is_err());
    let paths = vec![vec![0.01, -0.02, 0.03], vec![0.0; 3]];
    let sharpes = Distribution::of_sharpes(&paths, 12.0).expect("a distribution");
    assert_eq!((sharpes.count, sharpes.least), (2, 0.0));
}
