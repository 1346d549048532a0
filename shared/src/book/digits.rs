//! Decimal text without `core::fmt`: every Kraken message has forty numbers under its checksum.

/// Digits of the largest number.
const DIGITS_MAX: usize = 20;
/// Digits made at a time.
const BLOCK: usize = 8;
/// One more than the largest number of so many digits.
const BLOCK_END: u64 = 100_000_000;

/// Room for the text of `N` bytes; [`Digits::push`] may write a block beyond what it keeps.
#[derive(Debug)]
pub(super) struct Digits<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

/// The bytes that so many numbers need at most.
pub(super) const fn bytes_for(numbers: usize) -> usize {
    numbers * DIGITS_MAX + BLOCK
}

impl<const N: usize> Digits<N> {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Appends a number without leading zeros.
    #[inline]
    pub(super) fn push(&mut self, value: u64) {
        let (high, low) = (value / BLOCK_END, value % BLOCK_END);
        if high == 0 {
            self.block(low, true);
            return;
        }
        let (highest, middle) = (high / BLOCK_END, high % BLOCK_END);
        if highest > 0 {
            self.block(highest, true);
        }
        self.block(middle, highest == 0);
        self.block(low, false);
    }

    /// Appends a number below [`BLOCK_END`]: eight digits, or without the zeros in front.
    fn block(&mut self, value: u64, leading: bool) {
        let digits = eight_digits(value);
        let zeros = if leading {
            // The last digit stays, also when it is zero.
            (digits.trailing_zeros() as usize / 8).min(BLOCK - 1)
        } else {
            0
        };
        let text = (digits | 0x3030_3030_3030_3030) >> (8 * zeros);
        self.bytes[self.len..self.len + BLOCK].copy_from_slice(&text.to_le_bytes());
        self.len += BLOCK - zeros;
    }
}

/// The digits of a number below [`BLOCK_END`], the first in the lowest byte: split in two, then each
/// half in two, then again, all at once in the lanes of one word. Each division is a multiplication
/// by a rounded reciprocal, exact for every value that its lane can have.
const fn eight_digits(value: u64) -> u64 {
    // Two lanes of 32 bits below 10 000; four of 16 below 100; eight of 8 below 10.
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = (fours.wrapping_mul(10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = (twos.wrapping_mul(103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString as _};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_lane_divides_exactly() {
        for four in 0..10_000 {
            let text = format!("{four:04}{:04}", 9_999 - four);
            let digits = eight_digits(four * 10_000 + 9_999 - four) | 0x3030_3030_3030_3030;
            assert_eq!(&digits.to_le_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn the_edges_are_printed() {
        for value in [
            0,
            9,
            99_999_999,
            100_000_000,
            10_u64.pow(16) - 1,
            10_u64.pow(16),
            u64::MAX,
        ] {
            let mut digits = Digits::<{ bytes_for(1) }>::new();
            digits.push(value);
            assert_eq!(digits.as_bytes(), value.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn equals_core_fmt(values in proptest::collection::vec((any::<u64>(), 0_u32..64), 0..20)) {
            let (mut digits, mut text) = (Digits::<{ bytes_for(20) }>::new(), String::new());
            for (value, shift) in values {
                digits.push(value >> shift);
                text.push_str(&(value >> shift).to_string());
            }
            prop_assert_eq!(digits.as_bytes(), text.as_bytes());
        }
    }
}
