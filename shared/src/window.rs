//! What a policy sees: the last [`STEPS`] pulses of one instrument.
//!
//! The layout, its order and its padding exist here alone, for training and for serving.

use heapless::Deque;
use serde::{Deserialize, Serialize};

use crate::action::{Action, CHOICES, Choice};
use crate::features::{SELECTION, Vector};
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

/// A step as a network reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Raw features, zero where unknown.
    pub state: [f32; SELECTION.len()],
    /// One where a feature is known, else zero.
    pub valid: [f32; SELECTION.len()],
    /// The token of the action before: see [`action_input`].
    pub previous: [f32; ACTION_INPUTS],
    /// Whether later steps may see this one.
    pub live: bool,
}

impl Input {
    /// A step behind an action. A feature that is no number counts as unknown.
    #[must_use]
    pub fn new(step: &Step, previous: Option<&Action>) -> Self {
        let (mut state, mut valid) = (step.state.values, step.state.known());
        for (value, known) in state.iter_mut().zip(&mut valid) {
            if *known == 0.0 || !value.is_finite() {
                (*value, *known) = (0.0, 0.0);
            }
        }
        Self {
            state,
            valid,
            previous: action_input(previous),
            live: !step.masked,
        }
    }
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

    /// The newest steps, at most so many, as a network reads them; the first of them has no action before it.
    pub fn inputs(&self, most: usize) -> impl Iterator<Item = Input> {
        let skipped = self.steps.len().saturating_sub(most);
        let steps = || self.steps.iter().skip(skipped);
        let actions = steps().map(|step| Some(&step.action));
        let before = core::iter::once(None).chain(actions);
        let pairs = steps().zip(before);
        pairs.map(|(step, before)| Input::new(step, before))
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

    #[test]
    fn a_network_reads_the_newest_steps_each_behind_the_action_before_it() {
        let mut window = Window::new(InstrumentId(0));
        for at in 0..5_u8 {
            let mut state = Vector::default();
            state.values[0] = f32::from(at);
            state.values[1] = f32::NAN;
            state.values[2] = 9.0;
            state.valid = 0b11;
            let masked = at == 3;
            window.push(Step {
                at: Time(u64::from(at)),
                state,
                action: Action::HOLD,
                masked,
            });
            window.decide(Action::from_heads([0.0, 0.0, 2.0], 0.5, 0.0, 0.0));
        }
        let inputs: alloc::vec::Vec<Input> = window.inputs(3).collect();
        let firsts: alloc::vec::Vec<f32> = inputs.iter().map(|input| input.state[0]).collect();
        assert_eq!(firsts, [2.0, 3.0, 4.0]);
        assert_eq!(inputs[0].previous, action_input(None));
        assert_eq!(inputs[1].previous, [0.0, 0.0, 1.0, 0.0, 0.5]);
        assert!(inputs[0].live && !inputs[1].live && inputs[2].live);
        assert_eq!(
            inputs[2].valid[..3],
            [1.0, 0.0, 0.0],
            "no number is unknown"
        );
        assert_eq!(inputs[2].state[1..3], [0.0, 0.0]);
        assert_eq!(window.inputs(60).count(), 5);
    }
}
