//! What travels with a network's graphs: the manifest that says what they are and how they must behave.
//!
//! The trainer writes it beside the graphs, the edge reads it before it believes them. It names each graph
//! file by its SHA-256, so that a bundle may carry the head alone and name a backbone that is already
//! installed; it holds the statistics that normalise a state, and golden samples with the answers that any
//! processor must give within a tolerance.
//!
//! A manifest is `MAGIC`, a format version, and then its fields, in postcard. The version is read first, so
//! that a manifest of another build is told apart from a damaged one.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::schema::{self, SchemaId};
use crate::time::Time;

/// The first bytes of a manifest.
pub const MAGIC: [u8; 4] = *b"TMLB";
/// The layout of [`Manifest`]; raised when a field changes.
pub const FORMAT: u32 = 1;
/// The meaning of the graphs' inputs and outputs; raised when one changes.
pub const GRAPHS: u32 = 1;
/// A manifest's name in its folder.
pub const FILE: &str = "manifest.bin";
/// Most bytes of a manifest: some golden windows of the largest shape.
pub const BYTES_MAX: usize = 4 << 20;
/// Tokens of a step: previous action, return-to-go, state.
pub const TOKENS: usize = 3;
/// Layers of the head graph; those before them are the backbone's.
pub const HEAD_LAYERS: usize = 2;
/// Added to the scores of what may not be seen.
pub const HIDDEN: f32 = -1e9;
/// Most numbers in one axis of a shape.
const SIZE_MAX: usize = 1 << 14;
/// Most layers of a network.
const LAYERS_MAX: usize = 64;
/// Most golden samples in a manifest.
const GOLDEN_MAX: usize = 64;
/// Largest tolerance that makes a golden sample mean anything.
const TOLERANCE_MAX: f32 = 0.1;

/// The name of a graph file in a bundle's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Graph {
    /// Embeddings and all layers but the last: one step and its cache.
    Backbone,
    /// The last layers, the norm and the heads: one step and its cache.
    Head,
    /// The backbone over a whole window.
    BackboneWindow,
    /// The head over a whole window, answering for its last step.
    HeadWindow,
}

impl Graph {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 4] = [
        Self::Backbone,
        Self::Head,
        Self::BackboneWindow,
        Self::HeadWindow,
    ];

    /// Its file's name.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Backbone => "backbone.onnx",
            Self::Head => "head.onnx",
            Self::BackboneWindow => "backbone.window.onnx",
            Self::HeadWindow => "head.window.onnx",
        }
    }

    /// Whether only a full training moves it.
    #[must_use]
    pub const fn is_backbone(self) -> bool {
        matches!(self, Self::Backbone | Self::BackboneWindow)
    }
}

/// The shape of a network, as its graphs need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Features of a state (S).
    pub state: usize,
    /// Classes of the action head (A).
    pub actions: usize,
    /// Steps of a window (T).
    pub steps: usize,
    /// Width of a token (d).
    pub d_model: usize,
    /// Attention heads (H).
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub d_ff: usize,
    /// Steps that each layer sees, its own included: one entry a layer.
    pub bands: Vec<usize>,
}

impl Shape {
    /// Width of one head.
    #[must_use]
    pub fn d_head(&self) -> usize {
        self.d_model / self.heads.max(1)
    }

    /// Layers of the backbone graph.
    #[must_use]
    pub fn frozen_layers(&self) -> usize {
        self.bands.len().saturating_sub(HEAD_LAYERS)
    }

    /// Numbers of the token of a previous action: a one-hot of its class, "none", its size.
    #[must_use]
    pub const fn action_inputs(&self) -> usize {
        self.actions + 2
    }

    /// Keys that the widest layer sees.
    #[must_use]
    pub fn keys(&self) -> usize {
        TOKENS * self.bands.iter().copied().max().unwrap_or(0)
    }

    /// Steps on which an answer depends.
    #[must_use]
    pub fn receptive_steps(&self) -> usize {
        1 + self
            .bands
            .iter()
            .map(|band| band.saturating_sub(1))
            .sum::<usize>()
    }

    /// Whether a streamed answer equals the window's for ever: the oldest step that matters must have
    /// its previous action inside the window.
    #[must_use]
    pub fn streams_exactly(&self) -> bool {
        self.receptive_steps() < self.steps
    }

    /// What makes no sense in it.
    fn check(&self) -> Result<(), BundleError> {
        let sizes = [
            ("state", self.state),
            ("actions", self.actions),
            ("steps", self.steps),
            ("d_model", self.d_model),
            ("heads", self.heads),
            ("d_ff", self.d_ff),
        ];
        for (name, size) in sizes {
            if !(1..=SIZE_MAX).contains(&size) {
                return refuse(format!("shape.{name} is {size}, not 1 to {SIZE_MAX}"));
            }
        }
        if !self.d_model.is_multiple_of(self.heads) {
            let (heads, width) = (self.heads, self.d_model);
            return refuse(format!("{heads} heads do not share a width of {width}"));
        }
        if !(HEAD_LAYERS..=LAYERS_MAX).contains(&self.bands.len()) {
            let layers = self.bands.len();
            return refuse(format!(
                "{layers} layers are not {HEAD_LAYERS} to {LAYERS_MAX}"
            ));
        }
        let outside = |band: &&usize| !(1..=self.steps).contains(*band);
        match self.bands.iter().find(outside) {
            Some(band) => refuse(format!("a band of {band} in {} steps", self.steps)),
            None => Ok(()),
        }
    }
}

/// What normalises the inputs of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Mean of each feature (S).
    pub mean: Vec<f32>,
    /// One over its standard deviation, zero for one that never moves (S).
    pub inverse_scale: Vec<f32>,
    /// What one unit of the return token and of the value head is worth, as a fraction.
    pub return_scale: f32,
}

/// One step as a network reads it; its return-to-go is the policy's constant target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Raw features, zero where unknown (S).
    pub state: Vec<f32>,
    /// One where a feature is known, else zero (S).
    pub valid: Vec<f32>,
    /// A one-hot of the class of the action before, "none", its size (A + 2).
    pub previous: Vec<f32>,
    /// Whether later steps may see this one.
    pub live: bool,
}

/// What a network answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heads {
    /// Action logits (A).
    pub action: Vec<f32>,
    /// Position size, in `[0, 1]`.
    pub size: f32,
    /// Risk, in `[0, 1]`.
    pub risk: f32,
    /// Expected return-to-go under the action's probabilities, over the return scale.
    pub value: f32,
}

impl Heads {
    /// The largest absolute difference to another answer; infinite when one is not finite.
    #[must_use]
    pub fn distance(&self, other: &Self) -> f32 {
        let own = self
            .action
            .iter()
            .chain([&self.size, &self.risk, &self.value]);
        let its = other
            .action
            .iter()
            .chain([&other.size, &other.risk, &other.value]);
        if self.action.len() != other.action.len() {
            return f32::INFINITY;
        }
        own.zip(its).fold(0.0, |most, (a, b)| {
            let apart = (a - b).abs();
            if apart.is_finite() && most <= apart {
                apart
            } else if apart.is_finite() {
                most
            } else {
                f32::INFINITY
            }
        })
    }
}

/// A window with the answer that the network must give to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// Its steps, oldest first: as many as the shape has, or fewer at a start.
    pub rows: Vec<Row>,
    /// The answer to the last of them.
    pub heads: Heads,
}

/// From when to when, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first moment.
    pub from: Time,
    /// The last moment.
    pub to: Time,
}

/// All that is to be known of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The meaning of the graphs' inputs and outputs: [`GRAPHS`].
    pub graphs: u32,
    /// What the trainer agreed on with the edge.
    pub schema: SchemaId,
    /// [`schema::description`] of the trainer, so that a mismatch can be named.
    pub description: String,
    /// The network's shape.
    pub shape: Shape,
    /// What normalises its inputs.
    pub normalisation: Normalisation,
    /// The return-to-go that the policy asks for at every step, as a fraction.
    pub target_return: f32,
    /// SHA-256 of each file, by [`Graph::ALL`].
    pub files: [SchemaId; 4],
    /// Whether the backbone's files travel in this bundle, or are the installed ones of these hashes.
    pub carries_backbone: bool,
    /// SHA-256 of the backbone's weights in the trainer.
    pub backbone_weights: SchemaId,
    /// SHA-256 of all weights in the trainer.
    pub weights: SchemaId,
    /// Weights are stored with eight bits.
    pub int8: bool,
    /// When the steps that it learned from were taken.
    pub training: Span,
    /// The quarantine's cut-off: nothing later was learned from.
    pub cutoff: Time,
    /// When it was written.
    pub created: Time,
    /// What was measured of it, one line each; may be empty.
    pub metrics: String,
    /// Samples with the answers that any processor must give,
    pub golden: Vec<Golden>,
    /// within this absolute difference.
    pub tolerance: f32,
}

/// Why a bundle may not be used: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleError(pub String);

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for BundleError {}

fn refuse<T>(cause: String) -> Result<T, BundleError> {
    Err(BundleError(cause))
}

impl Manifest {
    /// The manifest in these bytes, checked for sense.
    ///
    /// # Errors
    /// When they are no manifest, one of another version, damaged, or say what cannot be.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > BYTES_MAX {
            return refuse(format!(
                "{} bytes are too many for a manifest; the most are {BYTES_MAX}",
                bytes.len()
            ));
        }
        let Some(body) = bytes.strip_prefix(&MAGIC) else {
            return refuse("is no manifest of a bundle: its first bytes are others".to_string());
        };
        let damaged = |error: postcard::Error| {
            BundleError(format!("is damaged ({error}): fetch the bundle again"))
        };
        let (format, body): (u32, _) = postcard::take_from_bytes(body).map_err(damaged)?;
        if format != FORMAT {
            return refuse(format!(
                "has format {format}, this build reads {FORMAT}: export the model with the same release"
            ));
        }
        let (manifest, rest): (Self, _) = postcard::take_from_bytes(body).map_err(damaged)?;
        if !rest.is_empty() {
            return refuse(format!(
                "has {} bytes after its end: fetch the bundle again",
                rest.len()
            ));
        }
        manifest.check()?;
        Ok(manifest)
    }

    /// Its bytes.
    ///
    /// # Errors
    /// When it says what cannot be, or is too large: what [`Manifest::from_bytes`] would refuse.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        self.check()?;
        let mut bytes = MAGIC.to_vec();
        let failed = |error| BundleError(format!("a manifest could not be encoded: {error}"));
        bytes.extend(postcard::to_allocvec(&(FORMAT, self)).map_err(failed)?);
        if bytes.len() > BYTES_MAX {
            return refuse(format!(
                "a manifest of {} bytes is too large: give fewer golden windows",
                bytes.len()
            ));
        }
        Ok(bytes)
    }

    /// The SHA-256 that the file of a graph must have.
    #[must_use]
    pub const fn file(&self, graph: Graph) -> SchemaId {
        self.files[graph as usize]
    }

    /// Whether this build and the trainer agree on everything.
    ///
    /// # Errors
    /// The first line in which they differ.
    pub fn agrees(&self) -> Result<(), BundleError> {
        let ours = schema::description();
        if self.schema == schema::fingerprint(ours.as_bytes()) {
            return Ok(());
        }
        match schema::difference(&ours, &self.description) {
            Some((ours, theirs)) => refuse(format!(
                "was trained under another schema: it has {theirs:?} where this build has {ours:?}; export a model with this release"
            )),
            None => refuse(format!(
                "names schema {} but describes {}: fetch the bundle again",
                self.schema,
                schema::fingerprint(ours.as_bytes())
            )),
        }
    }

    /// Whether it says what can be.
    fn check(&self) -> Result<(), BundleError> {
        if self.graphs != GRAPHS {
            return refuse(format!(
                "has graphs of version {}, this build runs {GRAPHS}: export the model with the same release",
                self.graphs
            ));
        }
        self.shape.check()?;
        let known = &self.normalisation;
        for (name, values) in [
            ("mean", &known.mean),
            ("inverse_scale", &known.inverse_scale),
        ] {
            exact(name, values, self.shape.state)?;
        }
        if !(known.return_scale.is_finite() && known.return_scale > 0.0) {
            let scale = known.return_scale;
            return refuse(format!("return_scale is {scale}, not a positive number"));
        }
        if !self.target_return.is_finite() {
            return refuse(format!("target_return is {}", self.target_return));
        }
        if !(0.0..=TOLERANCE_MAX).contains(&self.tolerance) {
            let tolerance = self.tolerance;
            return refuse(format!(
                "tolerance is {tolerance}, not 0 to {TOLERANCE_MAX}"
            ));
        }
        if self.golden.is_empty() || self.golden.len() > GOLDEN_MAX {
            let count = self.golden.len();
            return refuse(format!("{count} golden windows are not 1 to {GOLDEN_MAX}"));
        }
        self.golden
            .iter()
            .try_for_each(|one| self.check_golden(one))
    }

    fn check_golden(&self, golden: &Golden) -> Result<(), BundleError> {
        let steps = golden.rows.len();
        if !(1..=self.shape.steps).contains(&steps) {
            let most = self.shape.steps;
            return refuse(format!(
                "a golden window of {steps} steps is not 1 to {most}"
            ));
        }
        for row in &golden.rows {
            exact("a golden state", &row.state, self.shape.state)?;
            exact("a golden mask", &row.valid, self.shape.state)?;
            let inputs = self.shape.action_inputs();
            exact("a golden previous action", &row.previous, inputs)?;
        }
        let heads = &golden.heads;
        exact("a golden answer", &heads.action, self.shape.actions)?;
        exact("golden", &[heads.size, heads.risk, heads.value], 3)
    }
}

/// Whether there are so many values, all finite.
fn exact(name: &str, values: &[f32], wanted: usize) -> Result<(), BundleError> {
    if values.len() != wanted {
        let found = values.len();
        return refuse(format!("{name} has {found} values, the shape has {wanted}"));
    }
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => refuse(format!("{name} contains {value}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn manifest() -> Manifest {
        let shape = Shape {
            state: 2,
            actions: 3,
            steps: 4,
            d_model: 4,
            heads: 2,
            d_ff: 8,
            bands: vec![2, 2],
        };
        let row = Row {
            state: vec![0.5, 0.0],
            valid: vec![1.0, 0.0],
            previous: vec![0.0, 0.0, 0.0, 1.0, 0.0],
            live: true,
        };
        let heads = Heads {
            action: vec![0.0, 1.0, -1.0],
            size: 0.25,
            risk: 0.5,
            value: 0.125,
        };
        let description = schema::description();
        Manifest {
            graphs: GRAPHS,
            schema: schema::fingerprint(description.as_bytes()),
            description,
            shape,
            normalisation: Normalisation {
                mean: vec![0.0, 1.0],
                inverse_scale: vec![1.0, 0.0],
                return_scale: 0.01,
            },
            target_return: 0.001,
            files: [SchemaId([7; 32]); 4],
            carries_backbone: true,
            backbone_weights: SchemaId([1; 32]),
            weights: SchemaId([2; 32]),
            int8: false,
            training: Span {
                from: Time(1),
                to: Time(2),
            },
            cutoff: Time(3),
            created: Time(4),
            metrics: String::new(),
            golden: vec![Golden {
                rows: vec![row],
                heads,
            }],
            tolerance: 1e-4,
        }
    }

    #[test]
    fn a_manifest_survives_its_bytes() {
        let written = manifest();
        let bytes = written.to_bytes().expect("it makes sense");
        assert_eq!(Manifest::from_bytes(&bytes), Ok(written));
    }

    #[test]
    fn what_is_no_manifest_of_this_build_is_told_so() {
        let bytes = manifest().to_bytes().expect("it makes sense");
        let refused = |bytes: &[u8]| Manifest::from_bytes(bytes).expect_err("refused").0;
        assert!(refused(b"").contains("is no manifest"));
        assert!(refused(b"PK\x03\x04 something").contains("is no manifest"));
        assert!(refused(&bytes[..bytes.len() - 1]).contains("is damaged"));
        let longer = [&bytes[..], b"x"].concat();
        assert!(refused(&longer).contains("1 bytes after its end"));
        let mut later = bytes;
        later[MAGIC.len()] = 2;
        assert!(refused(&later).contains("has format 2, this build reads 1"));
        assert!(refused(&vec![0; BYTES_MAX + 1]).contains("too many"));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        type Change = fn(&mut Manifest);
        let cases: [(Change, &str); 9] = [
            (|m| m.graphs = 9, "graphs of version 9"),
            (|m| m.shape.heads = 3, "3 heads do not share a width of 4"),
            (|m| m.shape.bands[0] = 5, "a band of 5 in 4 steps"),
            (|m| m.shape.d_ff = 1 << 20, "shape.d_ff"),
            (|m| m.normalisation.mean.clear(), "mean has 0 values"),
            (|m| m.normalisation.return_scale = 0.0, "return_scale is 0"),
            (|m| m.golden.clear(), "0 golden windows"),
            (|m| m.tolerance = f32::NAN, "tolerance is NaN"),
            (|m| m.golden[0].heads.risk = f32::NAN, "contains NaN"),
        ];
        for (change, wanted) in cases {
            let mut wrong = manifest();
            change(&mut wrong);
            let told = wrong.to_bytes().expect_err(wanted).0;
            assert!(told.contains(wanted), "{wanted}: {told}");
            let bytes = postcard::to_allocvec(&(FORMAT, &wrong)).expect("plain data");
            let read = Manifest::from_bytes(&[&MAGIC[..], &bytes].concat());
            assert_eq!(read.expect_err(wanted).0, told, "reading refuses the same");
        }
    }

    #[test]
    fn another_schema_is_named_by_the_line_that_differs() {
        let mut other = manifest();
        assert_eq!(other.agrees(), Ok(()));
        other.description = other.description.replace("window 60", "window 61");
        other.schema = schema::fingerprint(other.description.as_bytes());
        let told = other.agrees().expect_err("another window").0;
        assert!(
            told.contains("window 61") && told.contains("window 60"),
            "{told}"
        );
        let mut lying = manifest();
        lying.schema = SchemaId([0; 32]);
        let told = lying.agrees().expect_err("another fingerprint").0;
        assert!(told.contains("names schema 0000"), "{told}");
    }

    #[test]
    fn the_distance_of_answers_is_the_largest_difference() {
        let heads = manifest().golden[0].heads.clone();
        let mut other = heads.clone();
        other.action[1] += 0.5;
        other.value -= 0.25;
        assert!((heads.distance(&other) - 0.5).abs() < 1e-6);
        other.size = f32::NAN;
        assert!(heads.distance(&other).is_infinite());
        other.action.pop();
        assert!(heads.distance(&other).is_infinite());
    }
}
