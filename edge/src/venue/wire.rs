//! What the venues' JSON has in common: numbers as printed, levels as arrays, stamps as integers.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tickerml_shared::event::Side;
use tickerml_shared::num::{NumError, decimals, div_round};
use tickerml_shared::time::Time;

use super::reader::{Unreadable, WireLevel};

/// The text of a number, which venues print bare or in quotation marks.
pub(super) fn bare(raw: &RawValue) -> &str {
    let text = raw.get();
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

/// A non-negative integer, bare or in quotation marks.
pub(super) fn integer(raw: &RawValue) -> Result<u64, Unreadable> {
    bare(raw)
        .parse()
        .map_err(|_| Unreadable::new(format_args!("{} is not a message number", raw.get())))
}

/// An epoch stamp of any unit, bare or in quotation marks; unknown when there is none to read.
pub(super) fn stamp(raw: Option<&RawValue>) -> Time {
    raw.and_then(|raw| bare(raw).parse().ok())
        .map_or(Time::UNKNOWN, Time::from_epoch)
}

/// Whether a decimal text says zero.
pub(super) fn is_zero(text: &str) -> bool {
    text.contains('0') && text.bytes().all(|byte| matches!(byte, b'0' | b'.'))
}

/// The taker's side, as Kraken and KuCoin print it.
pub(super) fn side(text: &str) -> Result<Side, Unreadable> {
    match text {
        "buy" | "BUY" | "b" => Ok(Side::Buy),
        "sell" | "SELL" | "s" => Ok(Side::Sell),
        other => Err(Unreadable::new(format_args!("{other:?} is not a side"))),
    }
}

/// A decimal text as the nearest count of `10^-scale`, ties away from zero. For what a venue
/// computes (funding rates, mark and index prices) and therefore prints with as many digits as it
/// likes; orders and trades are never rounded.
pub(super) fn nearest(text: &str, scale: u8) -> Result<i64, Unreadable> {
    /// Digits beyond these cannot change the result of any scale in use.
    const DIGITS: u32 = 30;
    let bad = |error: NumError| Unreadable::new(format_args!("{text:?} {error}"));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            exponent
                .parse::<i8>()
                .map_err(|_| bad(NumError::Malformed))?,
        ),
        None => (text, 0),
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut value = 0_i128;
    let mut taken = 0;
    let mut shift = i32::from(scale) + i32::from(exponent);
    for (place, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
        if !byte.is_ascii_digit() {
            return Err(bad(NumError::Malformed));
        }
        let is_whole = place < whole.len();
        if taken < DIGITS {
            value = value * 10 + i128::from(byte - b'0');
            taken += u32::from(value != 0);
            shift -= i32::from(!is_whole);
        } else {
            shift += i32::from(is_whole);
        }
    }
    if whole.is_empty() {
        return Err(bad(NumError::Malformed));
    }
    let scaled = match u32::try_from(shift) {
        Ok(up) => 10_i128
            .checked_pow(up)
            .and_then(|factor| value.checked_mul(factor))
            .filter(|_| value != 0),
        Err(_) => match 10_i128.checked_pow(shift.unsigned_abs()) {
            Some(divisor) => Some(i128::from(div_round(value, divisor))),
            None => Some(0),
        },
    };
    match scaled {
        _ if value == 0 => Ok(0),
        Some(scaled) => i64::try_from(sign * scaled).map_err(|_| bad(NumError::TooLarge)),
        None => Err(bad(NumError::TooLarge)),
    }
}

/// A quantity without the decimals that its instrument's scale cannot hold. KuCoin's books hold
/// remainders finer than the smallest quantity that can be traded; what is cut off is less than one
/// unit. A quantity of nothing but such decimals becomes one unit, for zero would delete its level.
pub(super) fn shortened(text: &str, scale: u8) -> &str {
    const UNITS: [&str; 19] = [
        "1", "1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6", "1e-7", "1e-8", "1e-9", "1e-10",
        "1e-11", "1e-12", "1e-13", "1e-14", "1e-15", "1e-16", "1e-17", "1e-18",
    ];
    if decimals(text) <= scale {
        return text;
    }
    let excess = usize::from(decimals(text) - scale) + usize::from(scale == 0);
    match text.get(..text.len() - excess) {
        Some(short) if is_zero(short) && !is_zero(text) => {
            UNITS.get(usize::from(scale)).unwrap_or(&text)
        }
        Some(short) => short,
        None => text,
    }
}

/// A level as an array: price, quantity, and what the venue adds (KuCoin: the change's own
/// sequence; Kraken v1: its time). Anything further is ignored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    /// Price.
    pub(super) price: &'a str,
    /// Quantity.
    pub(super) qty: &'a str,
    /// The third element.
    pub(super) third: Option<&'a str>,
}

impl<'a> Row<'a> {
    /// Its price and quantity.
    pub(super) const fn level(&self) -> WireLevel<'a> {
        (self.price, self.qty)
    }
}

/// The levels of a side, quantities [`shortened`] to this scale.
pub(super) fn levels<'a>(rows: &[Row<'a>], scale: u8) -> impl Iterator<Item = WireLevel<'a>> {
    rows.iter()
        .map(move |row| (row.price, shortened(row.qty, scale)))
}

impl<'de: 'a, 'a> Deserialize<'de> for Row<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Row<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a level: [price, quantity, …]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut next = || seq.next_element::<&'de RawValue>();
                let missing = |count| serde::de::Error::invalid_length(count, &"price, quantity");
                let price = bare(next()?.ok_or_else(|| missing(0))?);
                let qty = bare(next()?.ok_or_else(|| missing(1))?);
                let third = next()?.map(bare);
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Row { price, qty, third })
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_whatever_their_quotation_marks_and_tails() {
        let rows: Vec<Row<'_>> =
            serde_json::from_str(r#"[["1.50","2","7"],[29626.0,2521],["3","4","5","r"]]"#)
                .expect("readable");
        let read: Vec<_> = rows.iter().map(|row| (row.level(), row.third)).collect();
        assert_eq!(
            read,
            [
                (("1.50", "2"), Some("7")),
                (("29626.0", "2521"), None),
                (("3", "4"), Some("5"))
            ]
        );
        assert!(serde_json::from_str::<Row<'_>>(r#"["1"]"#).is_err());
        assert!(is_zero("0") && is_zero("0.000") && !is_zero("0.010") && !is_zero("."));
    }

    #[test]
    fn quantities_lose_what_the_scale_cannot_hold_but_never_all() {
        for (text, scale, want) in [
            ("0.00019434546", 8, "0.00019434"),
            ("0.00000000046", 8, "1e-8"),
            ("0.00000000000", 8, "0.00000000"),
            ("12.5", 0, "12"),
            ("0.5", 0, "1"),
            ("12", 0, "12"),
            ("12.50", 8, "12.50"),
            ("1.0E-12", 8, "1.0E-12"),
        ] {
            assert_eq!(shortened(text, scale), want, "{text} at {scale}");
        }
    }

    #[test]
    fn computed_numbers_are_rounded_to_nearest() {
        for (text, scale, want) in [
            ("0.000104908704166667", 12, Some(104_908_704)),
            ("-1.26108093245e-7", 12, Some(-126_108)),
            ("7.94427729016e-7", 12, Some(794_428)),
            ("123.83534812969", 10, Some(1_238_353_481_297)),
            ("0", 12, Some(0)),
            ("0e99", 12, Some(0)),
            ("5e-13", 12, Some(1)),
            ("4e-13", 12, Some(0)),
            ("1e-99", 12, Some(0)),
            ("100", 2, Some(10_000)),
            ("1e2", 0, Some(100)),
            ("0.00000000000000000000000000000000000001", 2, Some(0)),
            ("123456789012345678901234567890123456789", 2, None),
            ("9e18", 2, None),
            ("1e999", 0, None),
            ("", 2, None),
            ("-", 2, None),
            (".5", 2, None),
            ("1.2.3", 2, None),
            ("null", 2, None),
        ] {
            assert_eq!(nearest(text, scale).ok(), want, "{text:?} at {scale}");
        }
    }
}
