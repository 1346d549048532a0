//! The shape of the table: rows, units, and values that may be unknown.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The unit of a feature's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// A ratio in `[-1, 1]`.
    Ratio,
    /// A share in `[0, 1]`.
    Share,
    /// An oscillator in `[0, 100]` or `[-100, 100]`.
    Percent,
    /// Hundredths of a percent of the price.
    Bps,
    /// Price steps.
    Ticks,
    /// Seconds.
    Seconds,
    /// Hours.
    Hours,
    /// Per second.
    PerSecond,
    /// Bars.
    Bars,
    /// A natural logarithm.
    Log,
    /// A number of standard deviations or standard errors.
    Score,
    /// A class, counted from its lowest.
    Class,
    /// A number without unit that fits none of the above.
    Number,
}

impl Unit {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ratio => "ratio",
            Self::Share => "share",
            Self::Percent => "percent",
            Self::Bps => "bps",
            Self::Ticks => "ticks",
            Self::Seconds => "s",
            Self::Hours => "h",
            Self::PerSecond => "1/s",
            Self::Bars => "bars",
            Self::Log => "log",
            Self::Score => "score",
            Self::Class => "class",
            Self::Number => "number",
        }
    }
}

/// One row of a group's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name, for good: a change of meaning is a new name.
    pub name: &'static str,
    /// The unit of its value.
    pub unit: Unit,
    /// Its parameters, as `name=value` pairs; empty when it has none.
    pub parameters: &'static str,
    /// Where its definition comes from.
    pub source: &'static str,
}

/// Declares a group of features: an enum whose variants are the places of its rows.
///
/// Each line reads `Variant: "name", Unit, "parameters", "source";`.
macro_rules! rows {
    ($(#[$doc:meta])* $group:ident {
        $($(#[$about:meta])* $variant:ident: $name:literal, $unit:ident, $parameters:literal, $source:literal;)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $group {
            $($(#[$about])* $variant),+
        }

        impl $group {
            /// How many there are.
            pub const COUNT: usize = [$($name),+].len();
            /// Their rows, in order.
            pub const ROWS: [$crate::features::table::Row; Self::COUNT] = [
                $($crate::features::table::Row {
                    name: $name,
                    unit: $crate::features::table::Unit::$unit,
                    parameters: $parameters,
                    source: $source,
                }),+
            ];
            /// All of them, in order.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];
        }

        impl From<$group> for usize {
            fn from(feature: $group) -> usize {
                feature as usize
            }
        }
    };
}
pub(crate) use rows;

/// `N` values, each of which may be unknown.
///
/// Unknown is the one NaN that [`f32::NAN`] is, so that equal values have equal bytes.
#[derive(Clone, Copy)]
pub struct Values<const N: usize>([f32; N]);

impl<const N: usize> Values<N> {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self([f32::NAN; N]);

    /// The value at a place, when it is known.
    #[must_use]
    pub fn get(&self, place: impl Into<usize>) -> Option<f32> {
        let value = *self.0.get(place.into())?;
        (!value.is_nan()).then_some(value)
    }

    /// Sets a value. What is not finite in `f32` is unknown.
    #[expect(clippy::cast_possible_truncation, reason = "the model computes in f32")]
    pub fn set(&mut self, place: impl Into<usize>, value: Option<f64>) {
        let value = value
            .map(|value| value as f32)
            .filter(|value| value.is_finite());
        self.0[place.into()] = value.unwrap_or(f32::NAN);
    }

    /// Copies a block of values to the places from `start` on.
    pub fn place<const M: usize>(&mut self, start: usize, block: &Values<M>) {
        self.0[start..start + M].copy_from_slice(&block.0);
    }

    /// All values in order; unknown ones are NaN.
    #[must_use]
    pub const fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// How many are known.
    #[must_use]
    pub fn known(&self) -> usize {
        self.0.iter().filter(|value| !value.is_nan()).count()
    }
}

impl<const N: usize> Default for Values<N> {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl<const N: usize> PartialEq for Values<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0
            .iter()
            .zip(&other.0)
            .all(|(one, other)| one.to_bits() == other.to_bits())
    }
}

impl<const N: usize> Eq for Values<N> {}

impl<const N: usize> fmt::Debug for Values<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {N} known", self.known())
    }
}

impl<const N: usize> Serialize for Values<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        array::serialize(&self.0, serializer)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Values<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        array::deserialize(deserializer).map(Self)
    }
}

/// Arrays of any length for serde, whose own implementations end at 32: `#[serde(with = "array")]`.
pub(crate) mod array {
    use core::fmt;
    use core::marker::PhantomData;

    use serde::de::{Error, SeqAccess, Visitor};
    use serde::ser::SerializeTuple as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T: Serialize, const N: usize, S: Serializer>(
        array: &[T; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(N)?;
        for item in array {
            tuple.serialize_element(item)?;
        }
        tuple.end()
    }

    pub(crate) fn deserialize<
        'de,
        T: Deserialize<'de> + Default + Copy,
        const N: usize,
        D: Deserializer<'de>,
    >(
        deserializer: D,
    ) -> Result<[T; N], D::Error> {
        struct Items<T, const N: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Default + Copy, const N: usize> Visitor<'de> for Items<T, N> {
            type Value = [T; N];

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut array = [T::default(); N];
                for (place, item) in array.iter_mut().enumerate() {
                    *item = items
                        .next_element()?
                        .ok_or_else(|| A::Error::invalid_length(place, &self))?;
                }
                Ok(array)
            }
        }

        deserializer.deserialize_tuple(N, Items(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_unknown_and_comes_back_the_same() {
        let mut values = Values::<40>::UNKNOWN;
        values.set(0_usize, Some(1.5));
        values.set(1_usize, Some(f64::NAN));
        values.set(2_usize, Some(1e300));
        values.set(3_usize, Some(-f64::INFINITY));
        values.set(39_usize, Some(-2.0));
        assert_eq!(values.known(), 2);
        assert_eq!(
            (values.get(0_usize), values.get(1_usize)),
            (Some(1.5), None)
        );
        assert_eq!(values.get(40_usize), None);
        let bytes = postcard::to_allocvec(&values).expect("memory");
        assert_eq!(postcard::from_bytes::<Values<40>>(&bytes), Ok(values));
        assert!(postcard::from_bytes::<Values<40>>(&bytes[..100]).is_err());
    }
}
