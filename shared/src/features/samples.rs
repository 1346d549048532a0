//! Windows of equally spaced samples, and minutes made of seconds.
//!
//! A window holds its samples themselves and no sums, so what is computed from it is computed anew, in
//! the order of time, and cannot drift.

use serde::{Deserialize, Serialize};

use super::second::{Second, Trades};
use super::table::array;

/// The newest `N` samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "T: Serialize",
    deserialize = "T: Deserialize<'de> + Default + Copy"
))]
pub struct Samples<T, const N: usize> {
    #[serde(with = "array")]
    items: [T; N],
    /// Where the next one goes.
    next: usize,
    len: usize,
}

impl<T: Copy, const N: usize> Samples<T, N> {
    /// None yet; `fill` is never seen.
    #[must_use]
    pub const fn new(fill: T) -> Self {
        Self {
            items: [fill; N],
            next: 0,
            len: 0,
        }
    }

    /// Forgets all.
    pub const fn clear(&mut self) {
        self.next = 0;
        self.len = 0;
    }

    /// Adds the newest; gives what left a full window.
    pub fn push(&mut self, item: T) -> Option<T> {
        let oldest = core::mem::replace(&mut self.items[self.next], item);
        self.next = (self.next + 1) % N;
        if self.len == N {
            return Some(oldest);
        }
        self.len += 1;
        None
    }

    /// How many there are, at most `N`.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the window was observed in full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len == N
    }

    /// The newest.
    #[must_use]
    pub fn last(&self) -> Option<T> {
        (self.len > 0).then(|| self.items[(self.next + N - 1) % N])
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = T> + Clone + '_ {
        let (newer, older) = self.items.split_at(self.next);
        let older = if self.len == N { older } else { &[] };
        let newer = &newer[newer.len().saturating_sub(self.len)..];
        older.iter().chain(newer).copied()
    }

    /// The newest `count` of them, oldest first; `None` while there are fewer.
    pub fn newest(&self, count: usize) -> Option<impl DoubleEndedIterator<Item = T> + Clone + '_> {
        let (newer, older) = self.items.split_at(self.next);
        let from_older = count.saturating_sub(newer.len());
        (count <= self.len).then(|| {
            let older = &older[older.len() - from_older..];
            let newer = &newer[newer.len() - (count - from_older)..];
            older.iter().chain(newer).copied()
        })
    }

    /// A full window as an array, oldest first.
    #[must_use]
    pub fn full(&self) -> Option<[T; N]> {
        self.is_full().then(|| {
            let (newer, older) = self.items.split_at(self.next);
            let mut ordered = self.items;
            ordered[..older.len()].copy_from_slice(older);
            ordered[older.len()..].copy_from_slice(newer);
            ordered
        })
    }
}

/// Seconds of a minute.
pub const MINUTE_S: u64 = 60;

/// The current minute of the clock, made of its seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// Seconds of it that were observed.
    seen: u64,
    trades: Option<Trades>,
}

impl Minute {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            seen: 0,
            trades: None,
        }
    }

    /// A second is over. With the last one of a minute that was observed in full: the trades of that
    /// minute, if any. A minute that was not gives nothing.
    pub fn second(&mut self, second: &Second) -> Option<Option<Trades>> {
        if second.seen {
            self.seen += 1;
            match (&mut self.trades, &second.trades) {
                (Some(trades), Some(later)) => trades.add(later),
                (None, Some(first)) => self.trades = Some(*first),
                (_, None) => {}
            }
        }
        if !ends(second, MINUTE_S) {
            return None;
        }
        let whole = self.seen == MINUTE_S;
        let trades = self.trades.take();
        self.seen = 0;
        whole.then_some(trades)
    }
}

/// Whether a span of so many seconds, counted from the epoch, ends with this one.
#[must_use]
pub const fn ends(second: &Second, seconds: u64) -> bool {
    (second.number + 1).is_multiple_of(seconds)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::event::{Side, Trade};
    use crate::features::flow::Flows;
    use crate::features::impact::Impact;
    use crate::features::intensity::Intensity;
    use crate::features::regime::Regime;
    use crate::features::toxicity::Toxicity;
    use crate::features::volatility::Volatility;
    use crate::num::{Price, Qty};
    use crate::time::{SECONDS, Time};

    proptest! {
        #[test]
        fn a_window_is_the_end_of_all_samples(items in proptest::collection::vec(any::<i64>(), 0..20)) {
            let mut window = Samples::<i64, 7>::new(0);
            for (place, item) in items.iter().enumerate() {
                let left = place.checked_sub(7).map(|place| items[place]);
                prop_assert_eq!(window.push(*item), left);
                let all = &items[..=place];
                let kept = &all[all.len().saturating_sub(7)..];
                prop_assert_eq!(window.iter().collect::<Vec<_>>(), kept);
                prop_assert_eq!(window.last(), Some(*item));
                prop_assert_eq!(window.full().map(|full| full.to_vec()), (kept.len() == 7).then(|| kept.to_vec()));
                for count in 0..=7 {
                    let newest = window.newest(count).map(Iterator::collect::<Vec<_>>);
                    let want = kept.len().checked_sub(count).map(|from| kept[from..].to_vec());
                    prop_assert_eq!(newest, want);
                }
            }
        }
    }

    #[test]
    fn a_minute_needs_all_its_seconds() {
        let mut minute = Minute::new();
        let mut closed = Vec::new();
        for number in 30..300 {
            let second = Second {
                number,
                seen: number != 150,
                double_mid: None,
                trades: None,
            };
            if minute.second(&second).is_some() {
                closed.push(number);
            }
        }
        assert_eq!(closed, [119, 239, 299]);
    }

    /// Small, large and impossible numbers.
    fn numbers() -> impl Strategy<Value = i64> {
        prop_oneof![
            -2_i64..3,
            90_000_i64..110_000,
            Just(i64::MAX),
            Just(i64::MIN),
            any::<i64>()
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        /// Whatever a market says, no state becomes one that differs from itself.
        #[test]
        fn states_hold_no_nan(
            seconds in proptest::collection::vec(
                (numbers(), numbers(), numbers(), any::<bool>(), 0_u8..40), 700..900
            )
        ) {
            let (mut flow, mut intensity) = (Flows::new(), Intensity::new());
            let (mut toxicity, mut impact) = (Toxicity::new(), Impact::new());
            let (mut volatility, mut regime) = (Volatility::new(), Regime::new());
            for (number, (price, qty, double_mid, buy, kind)) in seconds.into_iter().enumerate() {
                let at = Time(number as u64 * SECONDS);
                let aggressor = if buy { Side::Buy } else { Side::Sell };
                // Quantities and prices of trades are positive where they come from.
                let (price, qty) = (Price(price.max(1)), Qty(qty.max(1)));
                let trade = Trade { id: 0, price, qty, aggressor };
                let traded = kind < 30;
                if traded {
                    flow.trade(&trade, None, at);
                    intensity.trade(&trade, at);
                    impact.trade(&trade);
                }
                let second = Second {
                    number: number as u64,
                    seen: true,
                    double_mid: (kind > 3).then_some(double_mid),
                    trades: traded.then(|| Trades::of(&trade)),
                };
                flow.second(&second);
                toxicity.second(&second);
                impact.second(&second);
                volatility.second(&second);
                regime.second(&second, &volatility);
            }
            prop_assert_eq!(&flow, &flow.clone());
            prop_assert_eq!(&intensity, &intensity.clone());
            prop_assert_eq!(&toxicity, &toxicity.clone());
            prop_assert_eq!(&impact, &impact.clone());
            prop_assert_eq!(&volatility, &volatility.clone());
            prop_assert_eq!(&regime, &regime.clone());
            let bytes = postcard::to_allocvec(&regime).expect("memory");
            prop_assert_eq!(postcard::from_bytes::<Regime>(&bytes), Ok(regime));
            let bytes = postcard::to_allocvec(&impact).expect("memory");
            prop_assert_eq!(postcard::from_bytes::<Impact>(&bytes), Ok(impact));
        }
    }
}
