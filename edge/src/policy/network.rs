//! A network's graphs in tract, one thread, fixed memory.
//!
//! In the streaming form each step is computed once: what later steps need of it stays in a [`Ring`], one for
//! each instrument. In the window form everything is computed from the whole window. Both give the same answers
//! (see [`tickerml_shared::bundle::Shape::streams_exactly`]).

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use tickerml_shared::bundle::{self, Graph, HIDDEN, Heads, Manifest, Row, Shape, TOKENS};
use tickerml_shared::schema::fingerprint;
use tract_onnx::prelude::{
    Framework as _, InferenceModelExt as _, IntoRunnable as _, TValue, TVec, Tensor, TractResult,
    TypedSimpleState,
};

use super::PolicyError;

/// Most bytes of a graph's file.
const GRAPH_BYTES_MAX: usize = 256 << 20;

/// How a network is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Step by step, with what is kept of the steps before.
    Streaming,
    /// With the whole window every time.
    Window,
}

impl Form {
    /// The form of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "streaming" => Some(Self::Streaming),
            "window" => Some(Self::Window),
            _ => None,
        }
    }

    /// The graphs that it runs: backbone and head.
    #[must_use]
    pub const fn graphs(self) -> [Graph; 2] {
        match self {
            Self::Streaming => [Graph::Backbone, Graph::Head],
            Self::Window => [Graph::BackboneWindow, Graph::HeadWindow],
        }
    }
}

/// One step as a network reads it, borrowed; see [`Row`].
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Raw features, zero where unknown (S).
    pub state: &'a [f32],
    /// One where a feature is known, else zero (S).
    pub valid: &'a [f32],
    /// The action before the step (A + 2).
    pub previous: &'a [f32],
    /// Whether later steps may see this one.
    pub live: bool,
}

impl<'a> From<&'a Row> for Seen<'a> {
    fn from(row: &'a Row) -> Self {
        Self {
            state: &row.state,
            valid: &row.valid,
            previous: &row.previous,
            live: row.live,
        }
    }
}

/// What later steps of one stream need of the earlier ones: keys and values of each layer, by age.
#[derive(Clone, Debug)]
pub struct Ring {
    /// Per layer that looks back: `[H, 3(band − 1), d_head]` each.
    caches: Vec<Option<[Arc<Tensor>; 2]>>,
    /// `[1, 3 · widest band]`: zero or [`HIDDEN`] for each key, the oldest first.
    visible: Arc<Tensor>,
}

impl Ring {
    /// Before the first step: nothing is visible.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(shape: &Shape) -> Result<Self, PolicyError> {
        let zeros = |band: &usize| {
            let size = [shape.heads, TOKENS * (band - 1), shape.d_head()];
            let one = || Tensor::zero::<f32>(&size).map(Arc::new);
            if *band > 1 {
                Ok(Some([one()?, one()?]))
            } else {
                Ok(None)
            }
        };
        let caches: TractResult<_> = shape.bands.iter().map(zeros).collect();
        let hidden = Tensor::from_shape(&[1, shape.keys()], &vec![HIDDEN; shape.keys()]);
        Ok(Self {
            caches: caches.map_err(|error| failed(&error))?,
            visible: Arc::new(hidden.map_err(|error| failed(&error))?),
        })
    }

    /// Forgets everything: the state of [`Ring::new`].
    ///
    /// # Errors
    /// Never in practice: its tensors are plain numbers.
    pub fn clear(&mut self) -> Result<(), PolicyError> {
        for cache in self.caches.iter_mut().flatten().flatten() {
            numbers(cache)?.fill(0.0);
        }
        numbers(&mut self.visible)?.fill(HIDDEN);
        Ok(())
    }

    /// Makes room for a step, which sees itself.
    fn advance(&mut self) -> Result<(), PolicyError> {
        let visible = numbers(&mut self.visible)?;
        visible.copy_within(TOKENS.., 0);
        let own = visible.len() - TOKENS;
        visible[own..].fill(0.0);
        Ok(())
    }

    /// Keeps what a step gave: keys and values of some layers, `[H, 3, d_head]` each.
    fn keep(
        &mut self,
        heads: usize,
        first_layer: usize,
        fresh: &[TValue],
    ) -> Result<(), PolicyError> {
        let layers = self.caches[first_layer..].iter_mut();
        for (cache, fresh) in layers.zip(fresh.chunks_exact(2)) {
            for (cache, fresh) in cache.iter_mut().flatten().zip(fresh) {
                let (kept, fresh) = (numbers(cache)?, read(fresh)?);
                let (whole, step) = (kept.len() / heads, fresh.len() / heads);
                let blocks = kept.chunks_exact_mut(whole);
                for (kept, fresh) in blocks.zip(fresh.chunks_exact(step)) {
                    kept.copy_within(step.., 0);
                    kept[whole - step..].copy_from_slice(fresh);
                }
            }
        }
        Ok(())
    }

    /// Whether later steps may see the newest.
    fn end(&mut self, live: bool) -> Result<(), PolicyError> {
        let visible = numbers(&mut self.visible)?;
        let own = visible.len() - TOKENS;
        visible[own..].fill(if live { 0.0 } else { HIDDEN });
        Ok(())
    }

    fn inputs(&self, layers: std::ops::Range<usize>, inputs: &mut TVec<TValue>) {
        let caches = self.caches[layers].iter().flatten().flatten();
        inputs.extend(caches.map(shared));
    }
}

/// The two graphs of a form, ready to be asked.
pub struct Network {
    shape: Shape,
    form: Form,
    backbone: TypedSimpleState,
    head: TypedSimpleState,
    /// `[n, S]`, where `n` is 1 in the streaming form and T in the window form.
    state: Arc<Tensor>,
    /// `[n, S]`.
    valid: Arc<Tensor>,
    /// `[n, A + 2]`.
    previous: Arc<Tensor>,
    /// `[n, 2]`: the same target at every step.
    wanted: Arc<Tensor>,
    mean: Arc<Tensor>,
    inverse_scale: Arc<Tensor>,
    /// `[1, 3T]`, for the window form.
    visible: Arc<Tensor>,
    answer: Heads,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("shape", &self.shape)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

/// The manifest of a bundle's folder.
///
/// # Errors
/// When it cannot be read or makes no sense.
pub fn manifest(folder: &Path) -> Result<Manifest, PolicyError> {
    let path = folder.join(bundle::FILE);
    let bytes = contents(&path, bundle::BYTES_MAX)?;
    Manifest::from_bytes(&bytes)
        .map_err(|error| PolicyError(format!("{}: {error}", path.display())))
}

impl Network {
    /// Reads the graphs that a manifest names from its folder, or the backbone from where one is `installed` when
    /// the bundle does not carry it; checks their hashes and that this processor gives the golden answers.
    ///
    /// # Errors
    /// When a file is missing, is another one, cannot be run, or answers otherwise.
    pub fn open(
        manifest: &Manifest,
        folder: &Path,
        installed: Option<&Path>,
        form: Form,
    ) -> Result<Self, PolicyError> {
        let [backbone, head] = form.graphs();
        let load = |graph: Graph| {
            let home = if graph.is_backbone() && !manifest.carries_backbone {
                installed.ok_or_else(|| {
                    PolicyError(format!(
                        "{}: the bundle carries the head alone; install the backbone {} first",
                        folder.display(),
                        manifest.file(graph)
                    ))
                })?
            } else {
                folder
            };
            let path = home.join(graph.file());
            let bytes = contents(&path, GRAPH_BYTES_MAX)?;
            let (found, named) = (fingerprint(&bytes), manifest.file(graph));
            if found != named {
                return Err(PolicyError(format!(
                    "{}: has SHA-256 {found}, the manifest names {named}: fetch the bundle again",
                    path.display()
                )));
            }
            compile(&bytes).map_err(|error| PolicyError(format!("{}: {error:#}", path.display())))
        };
        let states = [load(backbone)?, load(head)?];
        let mut network = Self::assemble(manifest, form, states).map_err(|error| failed(&error))?;
        network.examine(manifest)?;
        Ok(network)
    }

    fn assemble(
        manifest: &Manifest,
        form: Form,
        [backbone, head]: [TypedSimpleState; 2],
    ) -> TractResult<Self> {
        let (shape, known) = (manifest.shape.clone(), &manifest.normalisation);
        let rows = match form {
            Form::Streaming => 1,
            Form::Window => shape.steps,
        };
        let zero = |columns| Tensor::zero::<f32>(&[rows, columns]).map(Arc::new);
        let wanted = [manifest.target_return / known.return_scale, 1.0].repeat(rows);
        let vector = |values: &[f32]| Tensor::from_shape(&[values.len()], values).map(Arc::new);
        let answer = Heads {
            action: vec![0.0; shape.actions],
            size: 0.0,
            risk: 0.0,
            value: 0.0,
        };
        Ok(Self {
            form,
            backbone,
            head,
            state: zero(shape.state)?,
            valid: zero(shape.state)?,
            previous: zero(shape.action_inputs())?,
            wanted: Arc::new(Tensor::from_shape(&[rows, 2], &wanted)?),
            mean: vector(&known.mean)?,
            inverse_scale: vector(&known.inverse_scale)?,
            visible: Arc::new(Tensor::zero::<f32>(&[1, TOKENS * shape.steps])?),
            answer,
            shape,
        })
    }

    /// Its shape.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How it is asked.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// The answer to the last of some steps that follow one another from a start, in whichever form this is.
    ///
    /// # Errors
    /// When a graph cannot be run, or the rows have other sizes.
    pub fn ask(&mut self, rows: &[Row]) -> Result<&Heads, PolicyError> {
        match self.form {
            Form::Window => self.window(rows.iter().map(Seen::from)),
            Form::Streaming => {
                let mut ring = Ring::new(&self.shape)?;
                for row in rows {
                    self.step(&mut ring, row.into())?;
                }
                Ok(&self.answer)
            }
        }
    }

    /// Takes the next step of a stream and answers for it. The streaming form's.
    ///
    /// # Errors
    /// When a graph cannot be run, or the step has other sizes.
    pub fn step(&mut self, ring: &mut Ring, seen: Seen<'_>) -> Result<&Heads, PolicyError> {
        ring.advance()?;
        copy(&mut self.state, seen.state)?;
        copy(&mut self.valid, seen.valid)?;
        copy(&mut self.previous, seen.previous)?;
        let (frozen, layers) = (self.shape.frozen_layers(), self.shape.bands.len());
        let mut inputs = self.inputs(&ring.visible);
        ring.inputs(0..frozen, &mut inputs);
        let mut lower = run(&mut self.backbone, inputs)?;
        let hidden = lower.pop().ok_or_else(nothing)?;
        let mut inputs = TVec::from_iter([hidden, shared(&ring.visible)]);
        ring.inputs(frozen..layers, &mut inputs);
        let upper = run(&mut self.head, inputs)?;
        ring.keep(self.shape.heads, 0, &lower)?;
        ring.keep(self.shape.heads, frozen, &upper)?;
        ring.end(seen.live)?;
        self.take(&upper)
    }

    /// Answers for the last of at most T steps, the oldest first. The window form's.
    ///
    /// # Errors
    /// When a graph cannot be run, or a step has other sizes.
    pub fn window<'a>(
        &mut self,
        steps: impl ExactSizeIterator<Item = Seen<'a>>,
    ) -> Result<&Heads, PolicyError> {
        let (total, features) = (self.shape.steps, self.shape.state);
        let inputs = self.shape.action_inputs();
        let padding = total.checked_sub(steps.len()).ok_or_else(nothing)?;
        let states = numbers(&mut self.state)?;
        let valid = numbers(&mut self.valid)?;
        let previous = numbers(&mut self.previous)?;
        let visible = numbers(&mut self.visible)?;
        states[..padding * features].fill(0.0);
        valid[..padding * features].fill(0.0);
        previous[..padding * inputs].fill(0.0);
        visible[..padding * TOKENS].fill(HIDDEN);
        for (at, seen) in (padding..).zip(steps) {
            exactly(&mut states[at * features..(at + 1) * features], seen.state)?;
            exactly(&mut valid[at * features..(at + 1) * features], seen.valid)?;
            exactly(&mut previous[at * inputs..(at + 1) * inputs], seen.previous)?;
            let shown = if seen.live { 0.0 } else { HIDDEN };
            visible[at * TOKENS..(at + 1) * TOKENS].fill(shown);
        }
        let inputs = self.inputs(&self.visible);
        let mut lower = run(&mut self.backbone, inputs)?;
        let hidden = lower.pop().ok_or_else(nothing)?;
        let inputs = TVec::from_iter([hidden, shared(&self.visible)]);
        let upper = run(&mut self.head, inputs)?;
        self.take(&upper)
    }

    fn inputs(&self, visible: &Arc<Tensor>) -> TVec<TValue> {
        let all = [
            &self.state,
            &self.valid,
            &self.previous,
            &self.wanted,
            &self.mean,
            &self.inverse_scale,
            visible,
        ];
        all.into_iter().map(shared).collect()
    }

    /// The answer is in the last four outputs of the head.
    fn take(&mut self, outputs: &[TValue]) -> Result<&Heads, PolicyError> {
        let Some([action, size, risk, value]) = outputs.last_chunk() else {
            return Err(nothing());
        };
        exactly(&mut self.answer.action, read(action)?)?;
        let single = |value: &TValue| read(value)?.first().copied().ok_or_else(nothing);
        self.answer.size = single(size)?;
        self.answer.risk = single(risk)?;
        self.answer.value = single(value)?;
        Ok(&self.answer)
    }

    /// Whether this processor gives the golden answers.
    fn examine(&mut self, manifest: &Manifest) -> Result<(), PolicyError> {
        for (place, golden) in manifest.golden.iter().enumerate() {
            let distance = self.ask(&golden.rows)?.distance(&golden.heads);
            if distance > manifest.tolerance {
                return Err(PolicyError(format!(
                    "golden window {place} is answered {distance:e} off on this processor, {:e} are allowed: do not use this model here",
                    manifest.tolerance
                )));
            }
        }
        Ok(())
    }
}

/// Reads a file of at most so many bytes.
fn contents(path: &Path, most: usize) -> Result<Vec<u8>, PolicyError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        PolicyError(format!(
            "{}: {error}: name the folder of an exported model",
            path.display()
        ))
    })?;
    if bytes.len() > most {
        let path = path.display();
        return Err(PolicyError(format!(
            "{path}: has more than {most} bytes: fetch the bundle again"
        )));
    }
    Ok(bytes)
}

fn compile(bytes: &[u8]) -> TractResult<TypedSimpleState> {
    tract_onnx::onnx()
        .model_for_read(&mut &bytes[..])?
        .into_optimized()?
        .into_runnable()?
        .spawn()
}

fn run(state: &mut TypedSimpleState, inputs: TVec<TValue>) -> Result<TVec<TValue>, PolicyError> {
    state.run(inputs).map_err(|error| failed(&error))
}

fn shared(tensor: &Arc<Tensor>) -> TValue {
    TValue::from_const(Arc::clone(tensor))
}

/// A tensor's numbers, to be written; it is copied first if a run still shares it.
fn numbers(tensor: &mut Arc<Tensor>) -> Result<&mut [f32], PolicyError> {
    let view = Arc::make_mut(tensor).to_plain_array_view_mut::<f32>();
    let view = view.map_err(|error| failed(&error))?;
    view.into_slice().ok_or_else(nothing)
}

fn read(value: &TValue) -> Result<&[f32], PolicyError> {
    let view = value.to_plain_array_view::<f32>();
    let view = view.map_err(|error| failed(&error))?;
    view.to_slice().ok_or_else(nothing)
}

fn copy(tensor: &mut Arc<Tensor>, values: &[f32]) -> Result<(), PolicyError> {
    exactly(numbers(tensor)?, values)
}

fn exactly(into: &mut [f32], values: &[f32]) -> Result<(), PolicyError> {
    if into.len() != values.len() {
        let (wanted, found) = (into.len(), values.len());
        return Err(PolicyError(format!(
            "the model takes {wanted} numbers where {found} are given: export it with this release"
        )));
    }
    into.copy_from_slice(values);
    Ok(())
}

fn nothing() -> PolicyError {
    PolicyError("the graphs do not give what the manifest says: export the model again".to_owned())
}

fn failed(error: &impl fmt::Display) -> PolicyError {
    PolicyError(format!(
        "the model cannot be run: {error:#}: export it with this release"
    ))
}
