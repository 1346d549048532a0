//! Round scales for the axes of charts.

/// Bands between the grid lines of a linear axis.
pub(super) const BANDS: usize = 4;
/// Decades that a logarithmic axis shows at most; what lies below is drawn at its foot.
const DECADES_MAX: i32 = 8;
/// Most decimals of a tick's number.
const DECIMALS_MAX: usize = 8;

/// How values go up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Axis {
    /// Evenly.
    #[default]
    Linear,
    /// By their logarithm; what is not positive is not drawn.
    Log,
}

/// An axis with round ticks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    axis: Axis,
    low: f64,
    high: f64,
    /// The ticks' values, from the lowest to the highest.
    pub(super) ticks: Vec<f64>,
    /// Decimals that the ticks need.
    pub(super) decimals: usize,
}

impl Scale {
    /// Decimals of a tick's number: all the same where steps are even, as few as it needs where they are not.
    pub(super) fn decimals_of(&self, tick: f64) -> usize {
        match self.axis {
            Axis::Linear => self.decimals,
            Axis::Log => decimals(tick),
        }
    }
}

impl Scale {
    /// A scale that holds both values; both must be finite, and positive for [`Axis::Log`].
    pub(super) fn new(axis: Axis, min: f64, max: f64) -> Self {
        match axis {
            Axis::Linear => Self::linear(min, max),
            Axis::Log => Self::log(min, max),
        }
    }

    /// [`BANDS`] bands of the smallest step of 1, 2, 2.5 or 5 times a power of ten that hold both.
    fn linear(min: f64, max: f64) -> Self {
        let size = max.abs().max(min.abs());
        let span = match max - min {
            span if span > size * 1e-9 => span,
            _ if size > 0.0 => size / 10.0,
            _ => 1.0,
        };
        let mut power = 10_f64.powf((span / BANDS as f64).log10().floor());
        // The step that is needed is at most one decade and a half above the first one tried.
        for _ in 0..3 {
            for factor in [1.0, 2.0, 2.5, 5.0] {
                let step = power * factor;
                let low = (min / step).floor() * step;
                let high = low + step * BANDS as f64;
                if high >= max - step * 1e-9 {
                    let ticks = (0..=BANDS).map(|band| low + step * band as f64).collect();
                    return Self {
                        axis: Axis::Linear,
                        low,
                        high,
                        ticks,
                        decimals: decimals(step),
                    };
                }
            }
            power *= 10.0;
        }
        Self {
            axis: Axis::Linear,
            low: min,
            high: min + span,
            ticks: vec![min, min + span],
            decimals: decimals(span),
        }
    }

    /// Whole decades, and their halves and doubles where only few are shown.
    fn log(min: f64, max: f64) -> Self {
        let steps: &[f64] = if max / min < 100.0 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let first = (min.log10().floor() as i32).max(max.log10().ceil() as i32 - DECADES_MAX);
        let last = max.log10().ceil() as i32;
        let mut all = Vec::new();
        for decade in first..=last {
            all.extend(steps.iter().map(|step| step * 10_f64.powi(decade)));
        }
        let from = all.iter().rposition(|tick| *tick <= min).unwrap_or(0);
        let until = all.iter().position(|tick| *tick >= max);
        let mut ticks = all[from..=until.unwrap_or(all.len() - 1)].to_vec();
        if ticks.len() < 2 {
            ticks = vec![ticks[0] / 2.0, ticks[0] * 2.0];
        }
        Self {
            axis: Axis::Log,
            low: ticks[0],
            high: ticks[ticks.len() - 1],
            decimals: ticks.iter().map(|tick| decimals(*tick)).max().unwrap_or(0),
            ticks,
        }
    }

    /// The place of a value: 0 at the low end, 1 at the high one.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.axis {
            Axis::Linear => (value - self.low) / (self.high - self.low),
            Axis::Log => {
                let place = (value / self.low).ln() / (self.high / self.low).ln();
                place.max(0.0)
            }
        }
    }

    /// Whether zero lies within a linear axis, not at its end.
    pub(super) fn crosses_zero(&self) -> bool {
        self.axis == Axis::Linear && self.low < 0.0 && self.high > 0.0
    }

    /// Whether a value can be drawn.
    pub(super) fn takes(axis: Axis, value: f64) -> bool {
        value.is_finite() && (axis == Axis::Linear || value > 0.0)
    }
}

/// Decimals that write a step without rounding it.
fn decimals(step: f64) -> usize {
    (0..DECIMALS_MAX)
        .find(|places| {
            let scaled = step * 10_f64.powi(*places as i32);
            scaled.round() >= 1.0 && (scaled - scaled.round()).abs() < 1e-6 * scaled
        })
        .unwrap_or(DECIMALS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_scale_is_round_and_holds_both_ends() {
        for (min, max) in [
            (9_990.0, 10_042.0),
            (0.0, 0.0),
            (-5.5, 3.2),
            (1e7, 1e7 + 1.0),
            (99.9, 100.1),
            (-1e-4, 3e-4),
            (1.0, 1.0),
        ] {
            let scale = Scale::new(Axis::Linear, min, max);
            assert!(scale.low <= min && scale.high >= max - 1e-9, "{scale:?}");
            assert!((0.0..=1.0 + 1e-9).contains(&scale.place(max)), "{scale:?}");
        }
        let scale = Scale::new(Axis::Linear, 9_990.0, 10_042.0);
        assert_eq!(
            scale.ticks,
            [9_980.0, 10_000.0, 10_020.0, 10_040.0, 10_060.0]
        );
        assert_eq!(scale.decimals, 0);
        assert_eq!(Scale::new(Axis::Linear, 0.0, 0.9).decimals, 2);
        assert_eq!(Scale::new(Axis::Linear, 0.0, 0.0).decimals, 1);
    }

    #[test]
    fn a_logarithmic_scale_has_whole_decades_or_their_parts() {
        let scale = Scale::new(Axis::Log, 0.03, 450.0);
        assert_eq!(scale.ticks, [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]);
        assert!((scale.place(1.0) - 0.4).abs() < 1e-9);
        let narrow = Scale::new(Axis::Log, 0.6, 1.9);
        assert_eq!(narrow.ticks, [0.5, 1.0, 2.0]);
        assert_eq!(narrow.decimals_of(0.5), 1);
        assert_eq!(narrow.decimals_of(2.0), 0);
        let point = Scale::new(Axis::Log, 1.0, 1.0);
        assert!(point.low < 1.0 && point.high > 1.0);
        assert!(Scale::new(Axis::Log, 1e-30, 1.0).ticks.len() <= 10);
    }
}
