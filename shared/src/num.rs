//! Exact decimal arithmetic: prices, quantities and money are integers with a stated scale.
//!
//! A venue prints decimals; [`parse`] turns the text into an integer count of `10^-scale` and
//! refuses what it cannot hold exactly, so no rounding can hide between the wire and the ledger.
//! The only conversion to floating point lives in `features`.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Decimal places of [`Cash`]: one unit is a hundred-millionth of the quote currency.
pub const CASH_SCALE: u8 = 8;
/// The largest scale: `10^18` is the last power of ten that fits an `i64`.
pub const MAX_SCALE: u8 = 18;
/// Basis points in one.
pub const BPS: i64 = 10_000;

/// A price: a count of `10^-price_scale` of the instrument's quote currency per base unit.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Price(pub i64);

/// A quantity: a count of `10^-qty_scale` of the instrument's base currency (or contracts).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Qty(pub i64);

/// Money: a count of `10^-8` ([`CASH_SCALE`]) of a quote currency.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Cash(pub i64);

impl Cash {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// One whole unit of the currency.
    pub const ONE: Self = Self(pow10(CASH_SCALE));

    /// This amount times `bps` hundredths of a percent, rounded away from zero (the house never
    /// gains from rounding).
    #[must_use]
    pub fn bps(self, bps: i64) -> Self {
        Self(div_away(
            i128::from(self.0) * i128::from(bps),
            i128::from(BPS),
        ))
    }
}

impl core::ops::Add for Cash {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl core::ops::Sub for Cash {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl core::ops::Neg for Cash {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl core::ops::AddAssign for Cash {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl fmt::Display for Cash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fixed::new(self.0, CASH_SCALE).trimmed().fmt(f)
    }
}

/// Why a text is not a number that can be held exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumError {
    /// Not a plain or scientific decimal number.
    Malformed,
    /// It has non-zero digits beyond the scale of its instrument.
    TooPrecise,
    /// It does not fit 64 bits at the scale of its instrument.
    TooLarge,
}

impl fmt::Display for NumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "is not a decimal number",
            Self::TooPrecise => "has more decimals than the instrument's scale: raise the scale",
            Self::TooLarge => "does not fit 64 bits at the instrument's scale: lower the scale",
        })
    }
}

/// Ten to the power `n` (`n <= 18`).
#[must_use]
pub const fn pow10(n: u8) -> i64 {
    10_i64.pow(n as u32)
}

/// Parses a decimal text (`-12.3400`, `1e-08`) as a count of `10^-scale`, exactly.
///
/// # Errors
/// [`NumError`] when the text is no number or cannot be held exactly at this scale.
pub fn parse(text: &str, scale: u8) -> Result<i64, NumError> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes.first() {
        Some(b'-') => (true, &bytes[1..]),
        _ => (false, bytes),
    };
    let mut value: u64 = 0;
    let mut seen = 0_usize;
    let mut decimals: Option<i32> = None;
    let mut exponent = 0_i32;
    let mut rest = digits;
    while let Some((&byte, tail)) = rest.split_first() {
        match byte {
            b'0'..=b'9' => {
                value = value
                    .checked_mul(10)
                    .and_then(|v| v.checked_add(u64::from(byte - b'0')))
                    .ok_or(NumError::TooLarge)?;
                seen += 1;
                if let Some(count) = &mut decimals {
                    *count += 1;
                }
            }
            b'.' if decimals.is_none() => decimals = Some(0),
            b'e' | b'E' if seen > 0 => {
                exponent = parse_exponent(tail)?;
                break;
            }
            _ => return Err(NumError::Malformed),
        }
        rest = tail;
    }
    if seen == 0 || decimals == Some(0) && digits.last() == Some(&b'.') {
        return Err(NumError::Malformed);
    }
    let shift = i32::from(scale) - decimals.unwrap_or(0) + exponent;
    let magnitude = shift_decimal(value, shift)?;
    let magnitude = i64::try_from(magnitude).map_err(|_| NumError::TooLarge)?;
    Ok(if negative { -magnitude } else { magnitude })
}

fn parse_exponent(text: &[u8]) -> Result<i32, NumError> {
    let text = core::str::from_utf8(text).map_err(|_| NumError::Malformed)?;
    let exponent: i32 = text.parse().map_err(|_| NumError::Malformed)?;
    if exponent.abs() > 64 {
        Err(NumError::Malformed)
    } else {
        Ok(exponent)
    }
}

/// `value * 10^shift`, exactly.
fn shift_decimal(mut value: u64, mut shift: i32) -> Result<u64, NumError> {
    if value == 0 {
        return Ok(0);
    }
    if (0..=i32::from(MAX_SCALE)).contains(&shift) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0..=18"
        )]
        let factor = pow10(shift as u8).unsigned_abs();
        return value.checked_mul(factor).ok_or(NumError::TooLarge);
    }
    if shift > 0 {
        return Err(NumError::TooLarge);
    }
    while shift < 0 {
        if !value.is_multiple_of(10) {
            return Err(NumError::TooPrecise);
        }
        value /= 10;
        shift += 1;
    }
    Ok(value)
}

/// The number of decimals that a text shows (`"0.5000"` → 4; scientific notation counts as none).
#[must_use]
pub fn decimals(text: &str) -> u8 {
    match text.bytes().position(|b| b == b'.') {
        Some(dot) if !text.bytes().any(|b| b == b'e' || b == b'E') => {
            u8::try_from(text.len() - dot - 1).unwrap_or(u8::MAX)
        }
        _ => 0,
    }
}

/// Division that rounds to nearest, ties away from zero.
#[must_use]
pub fn div_round(numerator: i128, denominator: i128) -> i64 {
    let half = denominator.abs() / 2;
    let adjusted = if (numerator < 0) == (denominator < 0) {
        numerator.abs() + half
    } else {
        -(numerator.abs() + half)
    };
    saturate(adjusted / denominator.abs())
}

/// Division that rounds away from zero.
#[must_use]
pub fn div_away(numerator: i128, denominator: i128) -> i64 {
    let quotient = numerator / denominator;
    let exact = numerator % denominator == 0;
    let sign = if (numerator < 0) == (denominator < 0) {
        1
    } else {
        -1
    };
    saturate(if exact { quotient } else { quotient + sign })
}

/// The nearest `i64`.
#[must_use]
pub fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// `price * qty` as money, rounded to nearest.
#[must_use]
pub fn notional(price: Price, qty: Qty, price_scale: u8, qty_scale: u8) -> Cash {
    let product = i128::from(price.0) * i128::from(qty.0);
    let scale = i32::from(price_scale) + i32::from(qty_scale) - i32::from(CASH_SCALE);
    Cash(if scale >= 0 {
        div_round(product, 10_i128.pow(scale.unsigned_abs()))
    } else {
        saturate(product.saturating_mul(10_i128.pow(scale.unsigned_abs())))
    })
}

/// The quantity that `cash` buys at `price`, rounded toward zero. Zero when the price is not
/// positive.
#[must_use]
pub fn affordable(cash: Cash, price: Price, price_scale: u8, qty_scale: u8) -> Qty {
    if price.0 <= 0 {
        return Qty(0);
    }
    let shift = i32::from(price_scale) + i32::from(qty_scale) - i32::from(CASH_SCALE);
    let numerator = if shift >= 0 {
        i128::from(cash.0).saturating_mul(10_i128.pow(shift.unsigned_abs()))
    } else {
        i128::from(cash.0) / 10_i128.pow(shift.unsigned_abs())
    };
    Qty(saturate(numerator / i128::from(price.0)))
}

/// An integer shown with its decimal point.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    value: i64,
    scale: u8,
    trim: bool,
}

impl Fixed {
    /// `value * 10^-scale`, with all `scale` decimals.
    #[must_use]
    pub const fn new(value: i64, scale: u8) -> Self {
        Self {
            value,
            scale,
            trim: false,
        }
    }

    /// Without trailing zeros (and without a trailing point).
    #[must_use]
    pub const fn trimmed(self) -> Self {
        Self { trim: true, ..self }
    }
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = pow10(self.scale).unsigned_abs();
        let magnitude = self.value.unsigned_abs();
        if self.value < 0 {
            f.write_str("-")?;
        }
        write!(f, "{}", magnitude / unit)?;
        let mut fraction = magnitude % unit;
        let mut places = usize::from(self.scale);
        if self.trim {
            while places > 0 && fraction.is_multiple_of(10) {
                fraction /= 10;
                places -= 1;
            }
        }
        if places > 0 {
            write!(f, ".{fraction:0places$}")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_what_venues_print() {
        for (text, scale, want) in [
            ("61837.64000000", 8, Ok(6_183_764_000_000)),
            ("61837.64000000", 2, Ok(6_183_764)),
            ("0.00000010", 8, Ok(10)),
            ("1.0E-7", 8, Ok(10)),
            ("1e-08", 8, Ok(1)),
            ("-0.5", 1, Ok(-5)),
            ("320.0", 0, Ok(320)),
            ("0", 8, Ok(0)),
            ("0.001", 2, Err(NumError::TooPrecise)),
            ("99999999999", 10, Err(NumError::TooLarge)),
            ("0.-10000", 8, Err(NumError::Malformed)),
            ("", 8, Err(NumError::Malformed)),
            ("1.", 8, Err(NumError::Malformed)),
            ("1.2.3", 8, Err(NumError::Malformed)),
            ("NaN", 8, Err(NumError::Malformed)),
        ] {
            assert_eq!(parse(text, scale), want, "{text:?} at {scale}");
        }
        assert_eq!(
            (decimals("64523.0"), decimals("5"), decimals("1e-8")),
            (1, 0, 0)
        );
    }

    #[test]
    fn money_rounds_as_stated() {
        assert_eq!(
            notional(Price(6_183_764), Qty(150_000), 2, 6),
            Cash(927_564_600_000)
        );
        assert_eq!(Cash(1).bps(1), Cash(1), "a fee is never rounded to nothing");
        assert_eq!(Cash(-1).bps(1), Cash(-1));
        assert_eq!(
            (div_round(5, 2), div_round(-5, 2), div_round(4, 3)),
            (3, -3, 1)
        );
        assert_eq!(affordable(Cash::ONE, Price(3), 0, 2), Qty(33));
        assert_eq!(Cash(123_450_000).to_string(), "1.2345");
    }

    proptest! {
        #[test]
        fn text_round_trips(value in any::<i64>().prop_filter("min", |v| *v != i64::MIN), scale in 0_u8..=18) {
            let text = Fixed::new(value, scale).to_string();
            prop_assert_eq!(parse(&text, scale), Ok(value));
            prop_assert_eq!(parse(&Fixed::new(value, scale).trimmed().to_string(), scale), Ok(value));
        }

        #[test]
        fn any_text_is_answered(text in "[-0-9.eE+ ]{0,24}", scale in 0_u8..=18) {
            let _ = parse(&text, scale);
        }
    }
}
