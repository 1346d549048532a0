//! What a policy is rewarded for, step by step: growth, less what trading costs, less risk.
//!
//! ```text
//! growth    Δ = ln(1 + position · change − cost)       position: share of equity, negative when short
//! drawdown  d = ln(peak) − ln(equity);  worst = the deepest d since the start
//! reward    Δ − DRAWDOWN · (rise of worst) − RISK · (position · change)²
//! ```
//!
//! Growth of log equity is what compounds (Kelly 1956). The squares of the returns add up to the realised
//! variance (Andersen and Bollerslev 1998), so the risk penalty is one of variance without an estimate of it. The
//! drawdown penalty telescopes: over a whole course it is [`DRAWDOWN`] times the maximal drawdown, whatever the
//! length of a step is.

/// Weight of the maximal drawdown of a course, in log equity.
pub const DRAWDOWN: f64 = 0.02;
/// Weight of realised variance. The logarithm has one half of its own, so that the whole is a relative risk
/// aversion of two: half of Kelly's bet.
pub const RISK: f64 = 0.5;
/// The smallest factor by which equity changes in a step: a loss of everything stays a finite number.
pub const RUIN: f64 = 1e-4;

/// Names and values of the constants above, for the schema.
pub const WEIGHTS: [(&str, f64); 3] = [("drawdown", DRAWDOWN), ("risk", RISK), ("ruin", RUIN)];

/// An account on its way, in logarithms of its equity at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Course {
    /// Log equity.
    pub equity: f64,
    /// The highest so far.
    pub peak: f64,
    /// The deepest drawdown so far.
    pub worst: f64,
    /// Sum of the squared returns of the position.
    pub variance: f64,
}

impl Course {
    /// One step on: `position` as a share of equity (negative when short), `change` of the price over the step as a
    /// fraction, and `cost` of trading at its start as a share of equity. Gives the step's reward.
    pub fn step(&mut self, position: f64, change: f64, cost: f64) -> f64 {
        let moved = position * change;
        let growth = libm::log((1.0 + moved - cost).max(RUIN));
        let (deeper, variance) = (self.fall(growth), moved * moved);
        self.variance += variance;
        growth - DRAWDOWN * deeper - RISK * variance
    }

    /// Changes log equity; gives by how much the worst drawdown deepened.
    fn fall(&mut self, growth: f64) -> f64 {
        self.equity += growth;
        self.peak = self.peak.max(self.equity);
        let before = self.worst;
        self.worst = before.max(self.peak - self.equity);
        self.worst - before
    }

    /// The rewards of all steps so far together.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.equity - DRAWDOWN * self.worst - RISK * self.variance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-12, "{got} is not {expected}");
    }

    #[test]
    fn growth_is_of_log_equity_after_costs() {
        // Long of all, +10 %, 1 % paid: ln 1.09; variance 0.01.
        let mut course = Course::default();
        near(
            course.step(1.0, 0.1, 0.01),
            0.086_177_696_241_052_4 - 0.5 * 0.01,
        );
        near(course.equity, 0.086_177_696_241_052_4);
        // Short of a half, +10 %: ln 0.95, all of it drawdown.
        let mut course = Course::default();
        let fall = 0.051_293_294_387_550_6;
        near(
            course.step(-0.5, 0.1, 0.0),
            -fall - 0.02 * fall - 0.5 * 0.0025,
        );
    }

    #[test]
    fn only_a_new_depth_is_a_drawdown() {
        let mut course = Course::default();
        let (loss, gain) = (-0.051_293_294_387_550_6, 0.048_790_164_169_432);
        near(course.step(1.0, -0.05, 0.0), 1.02 * loss - 0.5 * 0.0025);
        near(course.step(1.0, 0.05, 0.0), gain - 0.5 * 0.0025);
        // Back to where it was: less deep than before by what was gained in between.
        let deeper = -loss - gain;
        near(
            course.step(1.0, -0.05, 0.0),
            loss - 0.02 * deeper - 0.5 * 0.0025,
        );
        near(course.worst, -2.0 * loss - gain);
    }

    #[test]
    fn rewards_add_up_to_the_total() {
        let mut course = Course::default();
        let rewards = [
            (1.0, 0.01, 0.001),
            (1.0, -0.03, 0.0),
            (0.0, 0.5, 0.001),
            (-1.0, -0.02, 0.002),
        ]
        .map(|(position, change, cost)| course.step(position, change, cost));
        near(rewards.iter().sum(), course.total());
    }

    #[test]
    fn standing_aside_costs_nothing_and_ruin_stays_finite() {
        let mut course = Course::default();
        near(course.step(0.0, 0.3, 0.0), 0.0);
        assert!(course.step(1.0, -1.5, 0.0).is_finite());
        near(course.equity, -9.210_340_371_976_182);
    }
}
