//! A trained network leaves as the graphs that the edge runs, with the manifest that vouches for them.
//!
//! [`export`] writes four ONNX files and `manifest.bin` into a folder that appears whole or not at all. Before it
//! appears, the graphs are asked through the edge's own code and must answer the golden windows as the formula in
//! [`reference`] does. The same weights give the same bytes, so that a backbone that did not move keeps its hash.

mod graph;
pub mod invented;
mod network;
pub mod reference;

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tickerml_edge::policy::network::{Form, Network};
use tickerml_shared::bundle::{
    FILE, GRAPHS, Golden, Graph, Heads, Manifest, Normalisation, Row, Span,
};
use tickerml_shared::schema::{SchemaId, description, fingerprint};
use tickerml_shared::time::Time;

pub use graph::Quantisation;

use crate::spec::{HEAD_LAYERS, Spec, Statistics};
use crate::weights::Weights;

/// How far an answer of the graphs may be from the formula's, on any processor.
pub const TOLERANCE: f32 = 1e-4;

/// Why nothing was exported: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportError(pub String);

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ExportError {}

/// What is exported.
#[derive(Clone, Debug)]
pub struct Export<'a> {
    /// The network's shape.
    pub spec: &'a Spec,
    /// Its weights.
    pub weights: &'a Weights,
    /// What normalises its inputs.
    pub statistics: &'a Statistics,
    /// The return-to-go that the policy asks for at every step, as a fraction.
    pub target_return: f32,
    /// When the steps that it learned from were taken.
    pub training: Span,
    /// The quarantine's cut-off.
    pub cutoff: Time,
    /// Now.
    pub created: Time,
    /// What was measured of it, one line each.
    pub metrics: &'a str,
    /// Windows on which every processor is examined, each from a beginning: 1 to 64 of them.
    pub golden: &'a [Vec<Row>],
    /// How weights are stored.
    pub quantisation: Quantisation,
    /// Whether the backbone's files are written, or named by their hashes alone.
    pub with_backbone: bool,
}

/// What was exported.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// The manifest that was written.
    pub manifest: Manifest,
    /// The largest difference of an answer to the formula's on the golden windows, in f32 or eight bits.
    pub error: f32,
    /// Bytes of each graph, by [`Graph::ALL`].
    pub bytes: [usize; 4],
}

/// Writes a bundle into a folder, which must be empty or not exist yet.
///
/// # Errors
/// When the shape cannot be exported, the graphs do not answer as the formula does, or the folder cannot be written;
/// then there is no folder.
pub fn export(what: &Export<'_>, folder: &Path) -> Result<Exported, ExportError> {
    check(what)?;
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = folder
        .file_name()
        .ok_or_else(|| ExportError(format!("{}: name a new folder", folder.display())))?;
    let partial = parent.join(format!(".{}.partial", name.to_string_lossy()));
    let failed = |error: std::io::Error| ExportError(format!("{}: {error}", folder.display()));
    if folder.is_dir() && fs::read_dir(folder).map_err(failed)?.next().is_some() {
        return Err(ExportError(format!(
            "{}: is not empty; name a new folder",
            folder.display()
        )));
    }
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(failed)?;
    }
    fs::create_dir_all(&partial).map_err(failed)?;
    let written = write(what, &partial).and_then(|exported| {
        fs::rename(&partial, folder).map_err(failed)?;
        sync(parent).map_err(failed)?;
        Ok(exported)
    });
    if written.is_err() {
        // Nothing half-made stays behind; the error that is told is the first.
        let _ = fs::remove_dir_all(&partial);
    }
    written
}

fn check(what: &Export<'_>) -> Result<(), ExportError> {
    what.spec.check().map_err(ExportError)?;
    if what.spec.layers() < HEAD_LAYERS {
        return Err(ExportError(format!(
            "the model has {} layers; its head alone takes {HEAD_LAYERS}",
            what.spec.layers()
        )));
    }
    if !what.spec.streams_exactly() {
        return Err(ExportError(format!(
            "an answer depends on {} steps and must depend on fewer than {}: train with shorter bands",
            what.spec.receptive_steps(),
            what.spec.steps
        )));
    }
    if what.golden.is_empty() {
        return Err(ExportError(
            "there is no golden window; give some of the validation steps".to_owned(),
        ));
    }
    let sizes = (what.spec.state, what.spec.action_inputs());
    let fits = |row: &Row| {
        (row.state.len(), row.previous.len()) == sizes && row.valid.len() == row.state.len()
    };
    if !what.golden.iter().flatten().all(fits) || what.golden.iter().any(Vec::is_empty) {
        return Err(ExportError(format!(
            "a golden window is empty or does not have {} features and {} action inputs",
            sizes.0, sizes.1
        )));
    }
    Ok(())
}

/// Writes everything into the folder and proves it there.
fn write(what: &Export<'_>, folder: &Path) -> Result<Exported, ExportError> {
    let network = network::Network {
        spec: what.spec,
        weights: what.weights,
        quantisation: what.quantisation,
    };
    let graphs = [
        network.backbone(network::Form::Streaming),
        network.head(network::Form::Streaming),
        network.backbone(network::Form::Window),
        network.head(network::Form::Window),
    ];
    for (graph, bytes) in Graph::ALL.into_iter().zip(&graphs) {
        save(&folder.join(graph.file()), bytes)?;
    }
    let wanted: Vec<Heads> = what
        .golden
        .iter()
        .map(|rows| {
            let (statistics, target) = (what.statistics, what.target_return);
            reference::answer(what.spec, what.weights, statistics, target, rows)
        })
        .collect();
    let mut manifest = manifest_of(what, &graphs, &wanted);
    // Eight bits are judged by what they lose, not refused for it: their own answers become the golden ones.
    let allowed = match what.quantisation {
        Quantisation::None => TOLERANCE,
        Quantisation::Int8 => f32::INFINITY,
    };
    let asked = ask(&manifest, folder, Form::Window)?;
    let mut error = largest(&asked, &wanted);
    if what.quantisation == Quantisation::Int8 {
        for (golden, heads) in manifest.golden.iter_mut().zip(asked) {
            golden.heads = heads;
        }
    }
    let golden: Vec<Heads> = manifest
        .golden
        .iter()
        .map(|one| one.heads.clone())
        .collect();
    let streamed = ask(&manifest, folder, Form::Streaming)?;
    error = error.max(largest(&streamed, &wanted));
    let apart = largest(&streamed, &golden);
    if error > allowed || apart > TOLERANCE {
        return Err(ExportError(format!(
            "the graphs answer {error:e} off the formula and {apart:e} off each other, {TOLERANCE:e} are allowed: \
             this is a defect of the exporter or of the processor's kernels"
        )));
    }
    if what.quantisation == Quantisation::Int8 {
        manifest.metrics += &format!("\nint8: answers at most {error:e} off those of f32");
    }
    manifest.carries_backbone = what.with_backbone;
    if !what.with_backbone {
        for graph in Graph::ALL.into_iter().filter(|graph| graph.is_backbone()) {
            let path = folder.join(graph.file());
            fs::remove_file(&path)
                .map_err(|error| ExportError(format!("{}: {error}", path.display())))?;
        }
    }
    let bytes = manifest
        .to_bytes()
        .map_err(|error| ExportError(format!("the manifest {error}")))?;
    save(&folder.join(FILE), &bytes)?;
    sync(folder).map_err(|error| ExportError(format!("{}: {error}", folder.display())))?;
    Ok(Exported {
        manifest,
        error,
        bytes: graphs.map(|bytes| bytes.len()),
    })
}

/// The answers of the graphs in a folder to the golden windows, through the edge's own code.
fn ask(manifest: &Manifest, folder: &Path, form: Form) -> Result<Vec<Heads>, ExportError> {
    let failed = |error: tickerml_edge::policy::PolicyError| ExportError(error.0);
    // The golden answers are compared here, with a reason; an examination by the edge would come first.
    let mut unexamined = manifest.clone();
    unexamined.golden.clear();
    let mut network = Network::open(&unexamined, folder, None, form).map_err(failed)?;
    let answers = manifest
        .golden
        .iter()
        .map(|golden| network.ask(&golden.rows).cloned().map_err(failed));
    answers.collect()
}

fn largest(answers: &[Heads], wanted: &[Heads]) -> f32 {
    let pairs = answers.iter().zip(wanted);
    pairs.fold(0.0, |most, (one, other)| most.max(one.distance(other)))
}

fn manifest_of(what: &Export<'_>, graphs: &[Vec<u8>; 4], wanted: &[Heads]) -> Manifest {
    let (spec, text) = (what.spec, description());
    let golden = what.golden.iter().zip(wanted);
    Manifest {
        graphs: GRAPHS,
        schema: fingerprint(text.as_bytes()),
        description: text,
        shape: spec.shape(),
        normalisation: Normalisation {
            mean: what.statistics.mean.clone(),
            inverse_scale: what.statistics.inverse_scale.clone(),
            return_scale: what.statistics.return_scale,
        },
        target_return: what.target_return,
        files: graphs.each_ref().map(|bytes| fingerprint(bytes)),
        carries_backbone: true,
        backbone_weights: SchemaId(what.weights.hash(spec, |name| spec.is_backbone(name))),
        weights: SchemaId(what.weights.hash(spec, |_| true)),
        int8: what.quantisation == Quantisation::Int8,
        training: what.training,
        cutoff: what.cutoff,
        created: what.created,
        metrics: what.metrics.to_owned(),
        golden: golden
            .map(|(rows, heads)| Golden {
                rows: rows.clone(),
                heads: heads.clone(),
            })
            .collect(),
        tolerance: TOLERANCE,
    }
}

fn save(path: &PathBuf, bytes: &[u8]) -> Result<(), ExportError> {
    let written = fs::File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| ExportError(format!("{}: {error}", path.display())))
}

fn sync(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
}
