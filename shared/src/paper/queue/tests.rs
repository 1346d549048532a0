//! The queue models against published thresholds.

use alloc::string::ToString;

use super::*;

/// The smallest trade (in steps of a thousandth of a lot of 0.01) that goes past the queue.
fn threshold(position: Position) -> f64 {
    (1..2_000_000_i32)
        .map(|step| f64::from(step) * 1e-5)
        .find(|volume| {
            let mut position = position;
            position.trade(*volume, *volume);
            position.passed(0.01) > 0
        })
        .expect("twenty are more than the level holds")
}

#[test]
fn the_models_pass_the_thresholds_that_hftbacktest_was_measured_at() {
    // hftbacktest 2.4.4, executed: 10 ahead, the level goes from 20 to 14, lot 0.01.
    for (name, want) in [
        ("risk_averse", 10.005),
        ("log", 7.005),
        ("log2", 8.7307),
        ("power3", 7.005),
        ("power2_3", 4.755),
        ("power3_3", 9.255),
    ] {
        let model = QueueModel::from_name(name).expect(name);
        assert_eq!(model.to_string(), name);
        let mut position = Position::behind(10.0);
        position.level(model, 20.0, 14.0);
        let got = threshold(position);
        assert!((got - want).abs() < 6e-5, "{name}: {got} for {want}");
    }
}

#[test]
fn a_trade_told_after_its_depth_counts_twice() {
    // The same four lots of 1, told in both orders (hftbacktest 2.4.4, executed): 6.005 and 5.505.
    let model = QueueModel::Power3(Exponent::whole(3));
    let mut first = Position::behind(10.0);
    first.trade(4.0, 4.0);
    assert_eq!(first.passed(0.01), 0);
    first.level(model, 20.0, 16.0);
    let mut second = Position::behind(10.0);
    second.level(model, 20.0, 16.0);
    second.trade(4.0, 4.0);
    assert_eq!(second.passed(0.01), 0);
    let (first, second) = (threshold(first), threshold(second));
    assert!((first - 6.005).abs() < 2e-5, "{first}");
    assert!((second - 5.505).abs() < 2e-5, "{second}");
}

#[test]
fn names_that_are_no_models_are_refused() {
    for name in [
        "", "power", "power0", "power256", "power2_", "power2_x", "Log",
    ] {
        assert_eq!(QueueModel::from_name(name), None, "{name}");
    }
    assert_eq!(
        QueueModel::from_name("power2"),
        Some(QueueModel::Power(Exponent::whole(2)))
    );
    assert_eq!(QueueModel::from_name("square"), Some(QueueModel::Square));
}
