//! What a policy sees: the last [`STEPS`] pulses of one instrument.
//!
//! The layout, its order and its padding exist here alone, for training and for serving.

use heapless::Deque;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::features::Vector;
use crate::instrument::InstrumentId;
use crate::time::Time;

/// Steps of a window (K of the Decision Transformer).
pub const STEPS: usize = 60;

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
