//! Who answers an `Ask`.
//!
//! A policy is asked about a [`Window`] and answers with an [`Action`]; the shell measures how long
//! it took and journals the answer as a decision. Every policy is a pure function of the window; what
//! one keeps between two questions only spares work.

pub mod model;
pub mod network;

use std::fmt;
use std::path::PathBuf;

use tickerml_shared::action::Action;
use tickerml_shared::window::Window;

use model::Model;
use network::Form;

/// Which policy decides, as a site's configuration or a command names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The baseline.
    Imbalance,
    /// Never a trade.
    Flat,
    /// Always long.
    Hold,
    /// A trained model.
    Model {
        /// The folder of its bundle.
        folder: PathBuf,
        /// How it is asked.
        form: Form,
    },
}

/// Why a policy cannot be had: one line, with its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(pub String);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

impl Setting {
    /// What a command's text asks for: a name, or `model:FOLDER`.
    ///
    /// # Errors
    /// When it names no policy.
    pub fn from_text(text: &str) -> Result<Self, PolicyError> {
        match (text, text.strip_prefix("model:")) {
            ("imbalance", _) => Ok(Self::Imbalance),
            ("flat", _) => Ok(Self::Flat),
            ("buy-and-hold", _) => Ok(Self::Hold),
            (_, Some(folder)) if !folder.is_empty() => Ok(Self::Model {
                folder: PathBuf::from(folder),
                form: Form::Streaming,
            }),
            _ => Err(PolicyError(format!(
                "{text:?} is unknown; write imbalance, flat, buy-and-hold or model:FOLDER"
            ))),
        }
    }

    /// The policy itself, ready to be asked.
    ///
    /// # Errors
    /// When it cannot be read or may not be used here.
    pub fn open(&self) -> Result<Policy, PolicyError> {
        match self {
            Self::Imbalance => Ok(Policy::Imbalance),
            Self::Flat => Ok(Policy::Flat),
            Self::Hold => Ok(Policy::Hold),
            Self::Model { folder, form } => {
                Model::load(folder, *form).map(|model| Policy::Model(Box::new(model)))
            }
        }
    }
}

/// What decides.
#[derive(Debug)]
pub enum Policy {
    /// Order-book and trade-flow imbalance: see [`imbalance`].
    Imbalance,
    /// Holds whatever happens: what doing nothing would have earned.
    Flat,
    /// Wants to be long, as much as the limits allow, whatever happens: what the market itself earned.
    Hold,
    /// A trained model.
    Model(Box<Model>),
}

impl Policy {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Imbalance => "imbalance",
            Self::Flat => "flat",
            Self::Hold => "buy-and-hold",
            Self::Model(_) => "model",
        }
    }

    /// The trained model, where one decides.
    #[must_use]
    pub fn model(&self) -> Option<&Model> {
        match self {
            Self::Model(model) => Some(model),
            Self::Imbalance | Self::Flat | Self::Hold => None,
        }
    }

    /// Its answer.
    #[must_use]
    pub fn answer(&mut self, window: &Window) -> Action {
        match self {
            Self::Imbalance => imbalance(window),
            Self::Flat => Action::HOLD,
            Self::Hold => long(),
            Self::Model(model) => model.answer(window),
        }
    }
}

/// To be long, with all the confidence and size that an action can have.
fn long() -> Action {
    Action::from_heads([0.0, 0.0, SURE_LOGIT], 1.0, 0.0, 0.0)
}

/// A logit beside which those of the other classes have no probability left.
const SURE_LOGIT: f32 = 50.0;
/// Steps over which the pressure is averaged: one is noise, many are late.
const SMOOTHED_STEPS: usize = 3;
/// Weights of the features in the pressure; they sum to one.
const WEIGHTS: [(&str, f32); 3] = [
    ("book_imbalance_5", 0.5),
    ("book_imbalance_1", 0.2),
    ("trade_flow_10s", 0.3),
];
/// Logits per unit of pressure: a pressure of 0.35 makes a side as probable as holding.
const GAIN: f32 = 8.0;
/// Logit of holding, against which a side's logit must win.
const HOLD_LOGIT: f32 = 2.8;
/// Expected return per unit of pressure: a basis point, below any fee. The baseline is honest about
/// how little it knows.
const VALUE: f32 = 1e-4;

/// Leans with the pressure: buys when bids and aggressive buyers outweigh the rest, sells when the
/// opposite holds, and holds when the features are unknown or the pressure is small.
fn imbalance(window: &Window) -> Action {
    let mut steps = 0_u8;
    let mut sum = 0.0;
    for step in window.steps().rev().take(SMOOTHED_STEPS) {
        let parts = WEIGHTS
            .iter()
            .map(|(name, weight)| Some(step.state.named(name)? * weight));
        let Some(pressure) = parts.sum::<Option<f32>>() else {
            return Action::HOLD;
        };
        sum += pressure;
        steps += 1;
    }
    if usize::from(steps) < SMOOTHED_STEPS {
        return Action::HOLD;
    }
    let pressure = sum / f32::from(steps);
    let logits = [-GAIN * pressure, HOLD_LOGIT, GAIN * pressure];
    Action::from_heads(
        logits,
        pressure.abs(),
        1.0 - pressure.abs(),
        pressure * VALUE,
    )
}

#[cfg(test)]
mod tests {
    use tickerml_shared::action::Choice;
    use tickerml_shared::features::{SELECTION, Vector};
    use tickerml_shared::instrument::InstrumentId;
    use tickerml_shared::time::Time;
    use tickerml_shared::window::Step;

    use super::*;

    fn window(value: f32, valid: u64) -> Window {
        let mut window = Window::new(InstrumentId(0));
        for at in 0..3 {
            let state = Vector {
                values: [value; SELECTION.len()],
                valid,
            };
            window.push(Step {
                at: Time(at),
                state,
                action: Action::HOLD,
                masked: false,
            });
        }
        window
    }

    #[test]
    fn a_policy_is_named_by_a_word_or_by_its_folder() {
        let setting = Setting::from_text("model:var/model").expect("a folder");
        let (folder, form) = (PathBuf::from("var/model"), Form::Streaming);
        assert_eq!(setting, Setting::Model { folder, form });
        assert_eq!(Setting::from_text("flat"), Ok(Setting::Flat));
        for text in ["magic", "model", "model:"] {
            let told = Setting::from_text(text).expect_err(text).0;
            assert!(told.contains("write imbalance, flat, buy-and-hold or model:FOLDER"));
        }
        let nowhere = Setting::from_text("model:/nowhere").expect("a folder");
        let told = nowhere.open().expect_err("no such folder").0;
        assert!(
            told.contains("name the folder of an exported model"),
            "{told}"
        );
    }

    #[test]
    fn leans_with_the_pressure_and_holds_in_doubt() {
        let answer = |value, valid| Policy::Imbalance.answer(&window(value, valid)).choice;
        assert_eq!(Policy::Flat.answer(&window(0.8, u64::MAX)), Action::HOLD);
        let long = Policy::Hold.answer(&window(-0.8, 0));
        assert_eq!((long.choice, long.size()), (Choice::Buy, 1.0));
        assert_eq!(i64::from(long.confidence()), tickerml_shared::action::PPM);
        assert_eq!(answer(0.8, u64::MAX), Choice::Buy);
        assert_eq!(answer(-0.8, u64::MAX), Choice::Sell);
        assert_eq!(answer(0.1, u64::MAX), Choice::Hold);
        assert_eq!(answer(0.8, 0), Choice::Hold);
        assert_eq!(
            Policy::Imbalance.answer(&Window::new(InstrumentId(0))),
            Action::HOLD
        );
    }
}
