//! The numbers of a network outside any framework: named f32 tensors, in the order of [`Spec::weights`].
//!
//! A file of them is in the safetensors format, with the shape of the network and the statistics of its
//! normalisation as JSON in its metadata. Files are replaced whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::spec::{Spec, Statistics};

/// The entry of a file's metadata that holds what belongs to it, as JSON.
const FACTS: &str = "tickerml";

/// Named tensors, and the facts that belong to them.
pub(crate) type Contents = (BTreeMap<String, Tensor>, BTreeMap<String, String>);

/// A tensor: its shape and its values, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, the last axis fastest.
    pub values: Vec<f32>,
}

/// All weights of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// Takes tensors that are exactly those of the shape, all finite.
    ///
    /// # Errors
    /// When one is missing, superfluous, misshapen or not finite.
    pub fn new(spec: &Spec, tensors: BTreeMap<String, Tensor>) -> Result<Self, String> {
        let expected = spec.weights();
        for (name, shape) in &expected {
            let tensor = tensors
                .get(name)
                .ok_or_else(|| format!("the weight {name} is missing"))?;
            if tensor.shape != *shape || tensor.values.len() != shape.iter().product::<usize>() {
                return Err(format!(
                    "the weight {name} has shape {:?}, the model wants {shape:?}",
                    tensor.shape
                ));
            }
            if !tensor.values.iter().all(|value| value.is_finite()) {
                return Err(format!("the weight {name} is not finite"));
            }
        }
        match tensors
            .keys()
            .find(|name| expected.iter().all(|(known, _)| known != *name))
        {
            Some(name) => Err(format!("the weight {name} is not one of this model's")),
            None => Ok(Self { tensors }),
        }
    }

    /// A weight by its name.
    ///
    /// # Panics
    /// When the name is not one of [`Spec::weights`]: a defect of the caller.
    #[must_use]
    pub fn get(&self, name: &str) -> &Tensor {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("no weight is called {name}"))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensors themselves.
    #[must_use]
    pub fn into_tensors(self) -> BTreeMap<String, Tensor> {
        self.tensors
    }

    /// SHA-256 over the names and bits of those weights that `take` wants, in the order of the shape.
    #[must_use]
    pub fn hash(&self, spec: &Spec, take: impl Fn(&str) -> bool) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (name, _) in spec.weights().iter().filter(|(name, _)| take(name)) {
            hash.update(name.as_bytes());
            for value in &self.get(name).values {
                hash.update(value.to_le_bytes());
            }
        }
        hash.finalize().into()
    }

    /// Writes them to a safetensors file with what is needed to use them.
    ///
    /// # Errors
    /// When the file cannot be written; one that was there before is then untouched.
    pub fn save(&self, path: &Path, spec: &Spec, statistics: &Statistics) -> Result<(), String> {
        let facts = BTreeMap::from([
            ("spec".to_owned(), json(spec)),
            ("statistics".to_owned(), json(statistics)),
        ]);
        write_tensors(path, &self.tensors, facts)
    }

    /// Reads what [`Weights::save`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or does not hold the weights of its own shape.
    pub fn load(path: &Path) -> Result<(Spec, Statistics, Self), String> {
        let (tensors, facts) = read_tensors(path)?;
        let named = |why: String| format!("{}: {why}", path.display());
        let spec: Spec = fact(&facts, "spec").map_err(named)?;
        spec.check().map_err(named)?;
        let statistics = fact(&facts, "statistics").map_err(named)?;
        let weights = Self::new(&spec, tensors).map_err(named)?;
        Ok((spec, statistics, weights))
    }
}

/// A value as JSON, for the metadata of a file.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs of numbers and text")
}

/// A value out of the metadata of a file.
pub(crate) fn fact<T: DeserializeOwned>(
    facts: &BTreeMap<String, String>,
    name: &str,
) -> Result<T, String> {
    let text = facts
        .get(name)
        .ok_or_else(|| format!("the metadata lacks \"{name}\"; write the file anew"))?;
    serde_json::from_str(text).map_err(|why| format!("the metadata \"{name}\" is wrong: {why}"))
}

/// Writes named tensors and facts as one safetensors file: wholly, or not at all.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    facts: BTreeMap<String, String>,
) -> Result<(), String> {
    let bytes: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let bytes = tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name.as_str(), tensor.shape.as_slice(), bytes)
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
            view.map(|view| (*name, view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| format!("{}: {why}", path.display()))?;
    // One entry, because the order of several would differ from file to file.
    let facts = [(FACTS.to_owned(), json(&facts))].into();
    let file = safetensors::serialize(views, Some(facts))
        .map_err(|why| format!("{}: {why}", path.display()))?;
    replace(path, &file)
}

/// Reads named f32 tensors and facts from a safetensors file.
pub(crate) fn read_tensors(path: &Path) -> Result<Contents, String> {
    let damaged = |why: &dyn std::fmt::Display| {
        format!(
            "{}: {why}; the file is not a whole safetensors file of this program",
            path.display()
        )
    };
    let bytes = fs::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|why| damaged(&why))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|why| damaged(&why))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(damaged(&format!("{name} is not of type F32")));
        }
        let values = view
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect();
        let shape = view.shape().to_vec();
        tensors.insert(name.to_owned(), Tensor { shape, values });
    }
    let facts = header.metadata().as_ref().and_then(|all| all.get(FACTS));
    let facts = facts.ok_or_else(|| damaged(&"its metadata are not ours"))?;
    let facts = serde_json::from_str(facts).map_err(|why| damaged(&why))?;
    Ok((tensors, facts))
}

/// Replaces a file: what was there stays until all of the new one is on the disk.
///
/// # Errors
/// When the folder cannot be written or the disk is full, with the cause.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let written = File::create(&new)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path));
    written.map_err(|why| {
        // What is left of the new file is of no use; that it may not exist is no second error.
        let _ = fs::remove_file(&new);
        format!(
            "{} could not be written: {why}; make room or choose another folder (the file that was there is untouched)",
            path.display()
        )
    })?;
    // The rename itself is on the disk once its folder is.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(|why| format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> (Spec, Weights) {
        let spec = Spec {
            state: 2,
            actions: 2,
            steps: 4,
            d_model: 4,
            heads: 1,
            d_ff: 4,
            bands: vec![2],
        };
        let weights = crate::model::fresh(&spec, 1);
        (spec, weights)
    }

    #[test]
    fn weights_come_back_from_a_file_with_their_shape_and_statistics() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.safetensors");
        let (spec, weights) = small();
        let statistics = Statistics {
            mean: vec![0.1, -3.0],
            inverse_scale: vec![0.7, 0.0],
            return_scale: 0.013,
        };
        weights.save(&path, &spec, &statistics).expect("written");
        let again = folder.path().join("again.safetensors");
        weights.save(&again, &spec, &statistics).expect("written");
        let bytes = |path: &Path| fs::read(path).expect("written");
        assert_eq!(bytes(&path), bytes(&again));
        fs::remove_file(again).expect("removed");
        assert_eq!(Weights::load(&path), Ok((spec, statistics, weights)));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_damaged_file_is_told_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.safetensors");
        let (spec, weights) = small();
        weights
            .save(&path, &spec, &Statistics::identity(2))
            .expect("written");
        let bytes = fs::read(&path).expect("written");
        for cut in [0, 7, 100, bytes.len() - 1] {
            fs::write(&path, &bytes[..cut]).expect("cut");
            let why = Weights::load(&path).expect_err("a truncated file");
            assert!(why.contains("model.safetensors"), "{why}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_leaves_the_file_that_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.safetensors");
        let (spec, weights) = small();
        weights
            .save(&path, &spec, &Statistics::identity(2))
            .expect("written");
        let before = fs::read(&path).expect("written");
        let new = folder.path().join("model.safetensors.new");
        std::os::unix::fs::symlink("/dev/full", new).expect("a link");
        let why = weights
            .save(&path, &spec, &Statistics::identity(2))
            .expect_err("a full disk");
        assert!(
            why.contains("No space left") && why.contains("untouched"),
            "{why}"
        );
        assert_eq!(fs::read(&path).expect("still there"), before);
    }
}
