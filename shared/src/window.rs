//! What a policy sees: the last [`STEPS`] pulses of one instrument.
//!
//! The layout, its order and its padding exist here alone, for training and for serving.

use heapless::Deque;
use serde::{Deserialize, Serialize};

use crate::action::{Action, CHOICES, Choice};
use crate::features::Vector;
use crate::instrument::InstrumentId;
use crate::time::Time;

/// Steps of a window (K of the Decision Transformer).
pub const STEPS: usize = 60;
/// Numbers that the token of a previous action is made of: a one-hot of its choice, "none", its size.
pub const ACTION_INPUTS: usize = CHOICES.len() + 2;

/// The token of the action before a step; of none at the start of a sequence. Holding has no size.
#[must_use]
pub fn action_input(previous: Option<&Action>) -> [f32; ACTION_INPUTS] {
    let mut input = [0.0; ACTION_INPUTS];
    let Some(action) = previous else {
        input[CHOICES.len()] = 1.0;
        return input;
    };
    input[action.class()] = 1.0;
    if action.choice != Choice::Hold {
        input[CHOICES.len() + 1] = action.size();
    }
    input
}

/// One pulse of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: Time,
    /// The market; all invalid when the book was stale.
    pub state: Vector,
    /// What was decided; [`Action::HOLD`] until the answer arrives and for masked steps.
    pub action: Action,
    /// The book was stale: nothing about this step may be learned or decided.
    pub masked: bool,
}

/// The steps of one instrument, oldest first. A window that is not full is padded by its absence:
/// consumers align it to its end and mask the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Whose.
    pub instrument: InstrumentId,
    steps: Deque<Step, STEPS>,
}

impl Window {
    /// No steps yet.
    #[must_use]
    pub const fn new(instrument: InstrumentId) -> Self {
        Self {
            instrument,
            steps: Deque::new(),
        }
    }

    /// Adds the newest step; the oldest leaves a full window.
    pub fn push(&mut self, step: Step) {
        if self.steps.is_full() {
            self.steps.pop_front();
        }
        let pushed = self.steps.push_back(step);
        debug_assert!(pushed.is_ok(), "room was made");
    }

    /// Records the answer to the newest step.
    pub fn decide(&mut self, action: Action) {
        if let Some(step) = self.steps.back_mut() {
            step.action = action;
        }
    }

    /// The steps, oldest first.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &Step> + ExactSizeIterator {
        self.steps.iter()
    }

    /// The newest step.
    #[must_use]
    pub fn newest(&self) -> Option<&Step> {
        self.steps.back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_an_action_says_what_and_how_much() {
        assert_eq!(action_input(None), [0.0, 0.0, 0.0, 1.0, 0.0]);
        let bought = Action::from_heads([0.0, 0.0, 2.0], 0.5, 0.0, 0.0);
        assert_eq!(action_input(Some(&bought)), [0.0, 0.0, 1.0, 0.0, 0.5]);
        let held = Action::from_heads([0.0, 2.0, 0.0], 0.5, 0.0, 0.0);
        assert_eq!(action_input(Some(&held)), [0.0, 1.0, 0.0, 0.0, 0.0]);
    }
}
