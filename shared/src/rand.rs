//! Seeded randomness: the seed is an argument, so a run can be repeated.

use serde::{Deserialize, Serialize};

/// PCG-XSH-RR 64/32 (O'Neill 2014): small, fast, and the same on every platform. Not for secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rng {
    state: u64,
    increment: u64,
}

const MULTIPLIER: u64 = 6_364_136_223_846_793_005;

impl Rng {
    /// A generator; different `stream`s of one seed are independent sequences.
    #[must_use]
    pub const fn new(seed: u64, stream: u64) -> Self {
        let increment = (stream << 1) | 1;
        let state = increment
            .wrapping_add(seed)
            .wrapping_mul(MULTIPLIER)
            .wrapping_add(increment);
        Self { state, increment }
    }

    /// The next 32 random bits.
    #[expect(clippy::cast_possible_truncation, reason = "PCG keeps the low 32 bits")]
    pub const fn next_u32(&mut self) -> u32 {
        let state = self.state;
        self.state = state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
        let xorshifted = (((state >> 18) ^ state) >> 27) as u32;
        xorshifted.rotate_right((state >> 59) as u32)
    }

    /// The next 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        (self.next_u32() as u64) << 32 | self.next_u32() as u64
    }

    /// Uniform in `0..bound` (0 for a bound of 0), by multiplication; the bias is below `2^-32` for
    /// the bounds used here.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_reference_sequence() {
        // First outputs of pcg32 with seed 42 and stream 54, from the reference C demo (pcg-random.org).
        let mut rng = Rng::new(42, 54);
        let got: [u32; 6] = core::array::from_fn(|_| rng.next_u32());
        assert_eq!(
            got,
            [
                0xa15c_02b7,
                0x7b47_f409,
                0xba1d_3330,
                0x83d2_f293,
                0xbfa4_784b,
                0xcbed_606e
            ]
        );
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::new(1, 1);
        assert!((0..10_000).all(|_| rng.below(7) < 7));
        assert_eq!(rng.below(0), 0);
    }
}
