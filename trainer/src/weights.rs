//! The numbers of a network outside any framework: named f32 tensors, in the order of [`Spec::weights`].

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::spec::Spec;

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
}
