//! Indicators that remember: averages with a seed, trails, sums since a start.

use serde::{Deserialize, Serialize};

use super::super::table::array;

/// The newest `N` values, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Last<const N: usize> {
    #[serde(with = "array")]
    values: [f64; N],
    len: usize,
}

impl<const N: usize> Last<N> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            values: [0.0; N],
            len: 0,
        }
    }

    /// Adds the newest; the oldest leaves when full.
    pub fn push(&mut self, value: f64) {
        self.values.copy_within(1.., 0);
        self.values[N - 1] = value;
        self.len = (self.len + 1).min(N);
    }

    /// What is kept, oldest first.
    #[must_use]
    pub fn as_slice(&self) -> &[f64] {
        &self.values[N - self.len..]
    }
}

impl<const N: usize> Default for Last<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// An exponential average, seeded with the mean of its first `n` values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Average {
    seen: u32,
    value: f64,
}

impl Average {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            seen: 0,
            value: 0.0,
        }
    }

    fn push(&mut self, value: f64, n: u32, weight: f64) -> Option<f64> {
        if self.seen < n {
            self.seen += 1;
            self.value += value;
            if self.seen < n {
                return None;
            }
            self.value /= f64::from(n);
        } else {
            self.value += (value - self.value) * weight;
        }
        Some(self.value)
    }

    /// The next value of an average of weight `2 / (n + 1)`.
    pub fn ema(&mut self, value: f64, n: u32) -> Option<f64> {
        self.push(value, n, 2.0 / (f64::from(n) + 1.0))
    }

    /// The next value of an average of weight `1 / n` (Wilder 1978).
    pub fn wilder(&mut self, value: f64, n: u32) -> Option<f64> {
        self.push(value, n, 1.0 / f64::from(n))
    }
}

/// Averages of averages, three deep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Triple {
    parts: [Average; 3],
}

impl Triple {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            parts: [const { Average::new() }; 3],
        }
    }

    /// The next value: the average, its own average, and that one's.
    pub fn push(&mut self, value: f64, n: u32) -> [Option<f64>; 3] {
        let [one, two, three] = &mut self.parts;
        let first = one.ema(value, n);
        let second = first.and_then(|value| two.ema(value, n));
        let third = second.and_then(|value| three.ema(value, n));
        [first, second, third]
    }

    /// The first of the three, when it is known.
    #[must_use]
    pub fn first(&self, n: u32) -> Option<f64> {
        (self.parts[0].seen >= n).then_some(self.parts[0].value)
    }
}

/// Kaufman's (1995) adaptive average.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kama {
    value: Option<f64>,
}

impl Kama {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { value: None }
    }

    /// The next value, from the closes up to now; it begins at the close before the first ratio.
    pub fn push(&mut self, close: &[f64], n: usize, fast: f64, slow: f64) -> Option<f64> {
        let ratio = super::window::efficiency(close, n)?;
        let (fast, slow) = (2.0 / (fast + 1.0), 2.0 / (slow + 1.0));
        let weight = ratio * (fast - slow) + slow;
        let [.., before, now] = close else {
            return None;
        };
        let value = self.value.unwrap_or(*before);
        self.value = Some(value + weight * weight * (now - value));
        self.value
    }
}

/// Wilder's (1978) means of gains and losses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Strength {
    gain: Average,
    loss: Average,
}

impl Strength {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            gain: Average::new(),
            loss: Average::new(),
        }
    }

    /// Mean gain and mean loss after the next change.
    pub fn push(&mut self, change: f64, n: u32) -> Option<(f64, f64)> {
        let gain = self.gain.wilder(change.max(0.0), n);
        let loss = self.loss.wilder((-change).max(0.0), n);
        gain.zip(loss)
    }
}

/// Wilder's (1978) directional movement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    range: Average,
    up: Average,
    down: Average,
    index: Average,
}

impl Direction {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            range: Average::new(),
            up: Average::new(),
            down: Average::new(),
            index: Average::new(),
        }
    }

    /// +DI, -DI, and ADX when it is known. Zero where nothing moved (TA-Lib).
    pub fn push(
        &mut self,
        high: &[f64],
        low: &[f64],
        range: f64,
        n: u32,
    ) -> Option<(f64, f64, Option<f64>)> {
        let ([.., h0, h1], [.., l0, l1]) = (high, low) else {
            return None;
        };
        let (up, down) = (h1 - h0, l0 - l1);
        let rises = if up > down && up > 0.0 { up } else { 0.0 };
        let falls = if down > up && down > 0.0 { down } else { 0.0 };
        let range = self.range.wilder(range, n);
        let rises = self.up.wilder(rises, n);
        let falls = self.down.wilder(falls, n);
        let (range, rises, falls) = (range?, rises?, falls?);
        let share =
            |part: f64| super::window::ratio(part, range).map_or(0.0, |share| share * 100.0);
        let (plus, minus) = (share(rises), share(falls));
        let adx = match super::window::ratio((plus - minus).abs(), plus + minus) {
            Some(share) => self.index.wilder(share * 100.0, n),
            // TA-Lib keeps the average where the index is not defined.
            None => (self.index.seen >= n).then_some(self.index.value),
        };
        Some((plus, minus, adx))
    }
}

/// Wilder's (1978) parabolic stop and reverse.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parabola {
    state: Option<Trail>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Trail {
    rising: bool,
    stop: f64,
    extreme: f64,
    factor: f64,
}

impl Parabola {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: None }
    }

    /// The stop of the newest bar. It begins in the direction of the first directional movement.
    pub fn push(&mut self, high: &[f64], low: &[f64], step: f64, most: f64) -> Option<f64> {
        let ([.., h0, h1], [.., l0, l1]) = (high, low) else {
            return None;
        };
        let first = self.state.is_none();
        let trail = self.state.get_or_insert_with(|| {
            let rising = !(l0 - l1 > h1 - h0 && l0 - l1 > 0.0);
            let (stop, extreme) = if rising { (*l0, *h1) } else { (*h0, *l1) };
            Trail {
                rising,
                stop,
                extreme,
                factor: step,
            }
        });
        let (h0, l0) = if first { (h1, l1) } else { (h0, l0) };
        let broken = if trail.rising {
            *l1 <= trail.stop
        } else {
            *h1 >= trail.stop
        };
        if broken {
            trail.rising = !trail.rising;
            trail.stop = trail.extreme;
            trail.extreme = if trail.rising { *h1 } else { *l1 };
            trail.factor = step;
            trail.clamp([*h0, *h1], [*l0, *l1]);
        }
        let stop = trail.stop;
        let further = if trail.rising {
            *h1 > trail.extreme
        } else {
            *l1 < trail.extreme
        };
        if further {
            trail.extreme = if trail.rising { *h1 } else { *l1 };
            trail.factor = (trail.factor + step).min(most);
        }
        trail.stop += trail.factor * (trail.extreme - trail.stop);
        trail.clamp([*h0, *h1], [*l0, *l1]);
        Some(stop)
    }
}

impl Trail {
    /// A stop never stands inside the last two bars.
    fn clamp(&mut self, high: [f64; 2], low: [f64; 2]) {
        self.stop = if self.rising {
            self.stop.min(low[0]).min(low[1])
        } else {
            self.stop.max(high[0]).max(high[1])
        };
    }
}

/// SuperTrend (Seban 2008).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SuperTrend {
    /// Rising, upper and lower band.
    state: Option<(bool, f64, f64)>,
}

impl SuperTrend {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: None }
    }

    /// The line, and whether it is the lower one.
    pub fn push(&mut self, middle: f64, close: &[f64], width: f64) -> Option<(f64, bool)> {
        let [.., before, now] = close else {
            return None;
        };
        let (mut upper, mut lower) = (middle + width, middle - width);
        let (rising, top, bottom) = self.state.unwrap_or((*now >= middle, upper, lower));
        if !(upper < top || *before > top) {
            upper = top;
        }
        if !(lower > bottom || *before < bottom) {
            lower = bottom;
        }
        let rising = *now > if rising { lower } else { upper };
        self.state = Some((rising, upper, lower));
        Some((if rising { lower } else { upper }, rising))
    }
}
