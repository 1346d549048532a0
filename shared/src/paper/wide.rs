//! Products that do not fit 128 bits, divided before they are kept.

/// `a * b / divisor`, rounded down and saturated, and whether nothing was cut off. A zero divisor
/// gives the largest value: callers exclude it.
pub(super) fn mul_div(a: u128, b: u128, divisor: u128) -> (u128, bool) {
    if divisor == 0 {
        return (u128::MAX, false);
    }
    if let Some(product) = a.checked_mul(b) {
        return (product / divisor, product.is_multiple_of(divisor));
    }
    let (high, low) = multiply(a, b);
    if high >= divisor {
        return (u128::MAX, false);
    }
    // Long division by single bits: `high` is the remainder so far and stays below the divisor.
    let (mut rest, mut quotient) = (high, 0_u128);
    for bit in (0..u128::BITS).rev() {
        let carry = rest >> (u128::BITS - 1);
        rest = (rest << 1) | ((low >> bit) & 1);
        quotient <<= 1;
        if carry == 1 || rest >= divisor {
            rest = rest.wrapping_sub(divisor);
            quotient |= 1;
        }
    }
    (quotient, rest == 0)
}

/// The full product as its high and low half.
const fn multiply(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let (first, second, third) = (a0 * b0, a0 * b1, a1 * b0);
    let middle = (first >> 64) + (second & LOW) + (third & LOW);
    let high = a1 * b1 + (second >> 64) + (third >> 64) + (middle >> 64);
    (high, (middle << 64) | (first & LOW))
}

/// The nearest `i64` of a magnitude.
pub(super) fn narrow(magnitude: u128) -> i64 {
    i64::try_from(magnitude).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn extremes_are_exact() {
        let most = u128::MAX;
        assert_eq!(mul_div(most, most, most), (most, true));
        assert_eq!(mul_div(most, most, most - 1), (most, false), "saturates");
        assert_eq!(mul_div(most - 1, most, most), (most - 1, true));
        assert_eq!(mul_div(1, 1, 0), (most, false));
        assert_eq!(mul_div(most, 3, 4), (most / 4 * 3 + 2, false));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Division undone: `quotient * divisor + rest` is the product, in full width.
        #[test]
        fn the_quotient_multiplies_back(a: u128, b: u128, divisor in 1_u128..) {
            let (quotient, exact) = mul_div(a, b, divisor);
            let product = multiply(a, b);
            prop_assert_eq!(product.1, a.wrapping_mul(b));
            // The high half, by arithmetic modulo a prime.
            let prime = (1_u128 << 61) - 1;
            let wrap = (u128::MAX % prime + 1) % prime;
            let modulo = ((product.0 % prime) * wrap + product.1 % prime) % prime;
            prop_assert_eq!(modulo, (a % prime) * (b % prime) % prime);
            if quotient < u128::MAX {
                let back = multiply(quotient, divisor);
                prop_assert!(back <= product);
                prop_assert_eq!(exact, back == product);
                prop_assert!(multiply(quotient + 1, divisor) > product);
            }
        }
    }
}
