//! Qlib's 158 bar factors.

use super::Row;
use super::bars::Series;
use super::table::Unit;

/// How many there are.
pub const COUNT: usize = 1;
/// Their rows, in Qlib's order.
pub const ROWS: [Row; COUNT] = [Row {
    name: "alpha158_placeholder",
    unit: Unit::Number,
    parameters: "",
    source: "",
}];

/// The factors of the newest bar; NaN where one is not known.
#[must_use]
pub fn read(_series: &Series) -> [f64; COUNT] {
    [f64::NAN; COUNT]
}
