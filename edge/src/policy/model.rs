//! The trained model as a policy.
//!
//! Its answer is a pure function of the window. What is kept between two questions only spares work: a stream
//! goes on when it has read exactly the steps and actions of the window before the new ones, and is begun anew
//! with the whole window when it has not, so that a gap, a restart or a replay changes no answer.

use std::fmt;
use std::path::Path;

use heapless::Deque;
use tickerml_shared::action::{Action, CHOICES};
use tickerml_shared::bundle::{Heads, Manifest};
use tickerml_shared::features::SELECTION;
use tickerml_shared::instrument::MAX_INSTRUMENTS;
use tickerml_shared::window::{Input, STEPS, Step, Window};
use tracing::warn;

use super::PolicyError;
use super::network::{Form, Network, Ring, Seen, manifest};

/// A network that decides, with what it keeps of each instrument.
pub struct Model {
    manifest: Manifest,
    network: Network,
    /// By instrument; made when one is first seen.
    streams: Vec<Option<Box<Stream>>>,
}

/// What was read of one instrument.
struct Stream {
    ring: Ring,
    /// The newest steps that were read, with the actions that the step after each was shown.
    steps: Deque<Step, STEPS>,
    /// Steps read since the beginning.
    count: u64,
    answer: Action,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("weights", &self.manifest.weights)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Reads a bundle that carries all its graphs.
    ///
    /// # Errors
    /// Those of [`Model::load_over`].
    pub fn load(folder: &Path, form: Form) -> Result<Self, PolicyError> {
        Self::load_over(folder, None, form)
    }

    /// Reads a bundle whose backbone may be the one in the `installed` folder.
    ///
    /// # Errors
    /// When a file is missing or damaged, was made under another schema, has a shape that this build cannot ask,
    /// or does not give its golden answers on this processor.
    pub fn load_over(
        folder: &Path,
        installed: Option<&Path>,
        form: Form,
    ) -> Result<Self, PolicyError> {
        let mut manifest = manifest(folder)?;
        let refused = |cause: String| PolicyError(format!("{}: {cause}", folder.display()));
        manifest
            .agrees()
            .map_err(|error| refused(error.to_string()))?;
        let shape = &manifest.shape;
        if (shape.state, shape.actions) != (SELECTION.len(), CHOICES.len()) || shape.steps > STEPS {
            return Err(refused(format!(
                "the model reads {} features of {} steps and chooses among {} actions; this build has {}, {STEPS} and {}: export a model with this release",
                shape.state,
                shape.steps,
                shape.actions,
                SELECTION.len(),
                CHOICES.len()
            )));
        }
        if !shape.streams_exactly() {
            return Err(refused(format!(
                "an answer depends on {} steps and must depend on fewer than {}: train with shorter bands",
                shape.receptive_steps(),
                shape.steps
            )));
        }
        let network =
            Network::open(&manifest, folder, installed, form).map_err(|error| refused(error.0))?;
        manifest.golden.clear();
        Ok(Self {
            manifest,
            network,
            streams: Vec::with_capacity(MAX_INSTRUMENTS),
        })
    }

    /// What is known of it; its golden windows are no longer held.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its answer. A network that cannot be run answers [`Action::HOLD`], and the log says why.
    pub fn answer(&mut self, window: &Window) -> Action {
        let answer = match self.network.form() {
            Form::Streaming => self.stream_answer(window),
            Form::Window => self.window_answer(window),
        };
        answer.unwrap_or_else(|error| {
            warn!(instrument = window.instrument.0, "{error}");
            self.streams.clear();
            Action::HOLD
        })
    }

    /// The answer of the window form.
    fn window_answer(&mut self, window: &Window) -> Result<Action, PolicyError> {
        if window.newest().is_none() {
            return Ok(Action::HOLD);
        }
        let inputs: heapless::Vec<Input, STEPS> =
            window.inputs(self.manifest.shape.steps).collect();
        let heads = self.network.window(inputs.iter().map(seen))?;
        Ok(action(heads, self.manifest.normalisation.return_scale))
    }

    /// The answer of the streaming form: reads what is new.
    fn stream_answer(&mut self, window: &Window) -> Result<Action, PolicyError> {
        let (shape, index) = (&self.manifest.shape, window.instrument.index());
        if window.newest().is_none() || index >= MAX_INSTRUMENTS {
            return Ok(Action::HOLD);
        }
        while self.streams.len() <= index {
            self.streams.push(None);
        }
        let stream = match &mut self.streams[index] {
            Some(stream) => stream,
            empty @ None => empty.insert(Box::new(Stream {
                ring: Ring::new(shape)?,
                steps: Deque::new(),
                count: 0,
                answer: Action::HOLD,
            })),
        };
        let steps = shape.steps.min(window.steps().len());
        let fresh = stream.fresh(window, shape.steps).unwrap_or_else(|| {
            stream.count = 0;
            stream.steps.clear();
            steps
        });
        if stream.count == 0 {
            stream.ring.clear()?;
        }
        let scale = self.manifest.normalisation.return_scale;
        let known = steps - fresh;
        // The actions that the known steps were answered with are known by now.
        let newest = window.steps().rev().take(steps).rev();
        let newest = newest.zip(window.inputs(shape.steps)).enumerate();
        for (place, (step, input)) in newest {
            if place + 1 == known {
                if let Some(last) = stream.steps.back_mut() {
                    last.action = step.action;
                }
            } else if place >= known {
                let heads = self.network.step(&mut stream.ring, seen(&input))?;
                stream.answer = action(heads, scale);
                stream.push(*step);
            }
        }
        Ok(stream.answer)
    }
}

impl Stream {
    fn push(&mut self, step: Step) {
        if self.steps.is_full() {
            self.steps.pop_front();
        }
        let pushed = self.steps.push_back(step);
        debug_assert!(pushed.is_ok(), "room was made");
        self.count += 1;
    }

    /// How many of the window's newest `most` steps were not read yet; `None` when what was read is not what
    /// the window holds before them.
    fn fresh(&self, window: &Window, most: usize) -> Option<usize> {
        let steps = most.min(window.steps().len());
        let last = self.steps.back()?;
        let fresh = window
            .steps()
            .rev()
            .take(steps)
            .position(|step| same_market(step, last))?;
        let known = steps - fresh;
        // A window that is not full shows its true beginning: the stream must have begun there, too.
        let begun = u64::try_from(known).ok()?;
        if self.count < begun || (steps < most && self.count != begun) {
            return None;
        }
        let theirs = window.steps().rev().skip(fresh).take(known);
        let equal = theirs
            .zip(self.steps.iter().rev())
            .enumerate()
            .all(|(age, (theirs, own))| {
                same_market(theirs, own) && (age == 0 || theirs.action == own.action)
            });
        equal.then_some(fresh)
    }
}

fn same_market(one: &Step, other: &Step) -> bool {
    (one.at, one.masked, &one.state) == (other.at, other.masked, &other.state)
}

fn seen(input: &Input) -> Seen<'_> {
    Seen {
        state: &input.state,
        valid: &input.valid,
        previous: &input.previous,
        live: input.live,
    }
}

fn action(heads: &Heads, return_scale: f32) -> Action {
    let logits = std::array::from_fn(|class| heads.action.get(class).copied().unwrap_or(f32::NAN));
    Action::from_heads(logits, heads.size, heads.risk, heads.value * return_scale)
}
