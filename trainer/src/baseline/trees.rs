//! Gradient-boosted trees: grown by forust, kept and evaluated here.

use forust_ml::GradientBooster;
use forust_ml::Matrix;
use forust_ml::objective::ObjectiveType;
use serde::{Deserialize, Serialize};

use super::rows::Rows;
use super::{BaselineError, Terms};

/// A node of a tree: a leaf where `left` is zero, for no node leads back to the root.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Node {
    /// Column that is asked for.
    pub(super) column: u32,
    /// Below this the way goes left, else right; of a leaf, what it adds.
    pub(super) value: f32,
    pub(super) left: u32,
    pub(super) right: u32,
}

/// A tree, its root first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Tree {
    /// Which output it adds to.
    pub(super) output: usize,
    pub(super) nodes: Vec<Node>,
}

/// Trees for all outputs: A margins (log-odds of one class against the rest), size, risk, A values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Forest {
    /// Where each output starts: `[2 A + 2]`.
    pub(super) base: Vec<f32>,
    /// In order of their outputs.
    pub(super) trees: Vec<Tree>,
}

/// What trees see of a row: raw states where they are known, then the flags: `[2 · L · S]`.
pub(super) fn inputs(states: &[f32], valid: &[f32]) -> Vec<f32> {
    let known = states.iter().zip(valid).map(|(value, flag)| value * flag);
    known.chain(valid.iter().copied()).collect()
}

impl Tree {
    fn leaf(&self, x: &[f32]) -> f32 {
        let mut at = &self.nodes[0];
        // No way is longer than the nodes are many.
        for _ in 0..self.nodes.len() {
            if at.left == 0 {
                break;
            }
            let below = x[at.column as usize] < at.value;
            at = &self.nodes[if below { at.left } else { at.right } as usize];
        }
        at.value
    }
}

impl Forest {
    /// The sums of the trees, before anything is made of them: `[2 A + 2]`.
    pub(super) fn sums(&self, x: &[f32]) -> Vec<f32> {
        let mut sums = self.base.clone();
        for tree in &self.trees {
            sums[tree.output] += tree.leaf(x);
        }
        sums
    }

    /// The answer to a row: A logits, size, risk, A values. The logits are logarithms of each class's own
    /// probability against the rest, so that their softmax is these probabilities over their sum.
    pub(super) fn answer(&self, x: &[f32], actions: usize) -> Vec<f32> {
        let mut sums = self.sums(x);
        for margin in &mut sums[..actions] {
            *margin = -softplus(-*margin);
        }
        for value in &mut sums[actions..actions + 2] {
            *value = value.clamp(0.0, 1.0);
        }
        sums
    }
}

/// `ln(1 + exp(x))` without overflow.
fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Grows the trees of all outputs.
pub(super) fn grow(rows: &Rows, terms: &Terms, seed: u64) -> Result<Forest, BaselineError> {
    let outputs = 2 * rows.actions + 2;
    let columns = 2 * rows.wide;
    let table: Vec<Vec<f32>> = (0..rows.count)
        .map(|row| {
            let here = row * rows.wide;
            inputs(
                &rows.states[here..][..rows.wide],
                &rows.valid[here..][..rows.wide],
            )
        })
        .collect();
    let mut forest = Forest {
        base: Vec::with_capacity(outputs),
        trees: Vec::new(),
    };
    for output in 0..outputs {
        let known: Vec<(usize, f64)> = match output.checked_sub(rows.actions) {
            None => rows
                .class
                .iter()
                .enumerate()
                .filter_map(|(row, class)| {
                    class.map(|class| (row, f64::from(u8::from(class == output))))
                })
                .collect(),
            Some(target) => rows
                .target(target)
                .enumerate()
                .filter(|(_, value)| value.is_finite())
                .map(|(row, value)| (row, f64::from(value)))
                .collect(),
        };
        let objective = if output < rows.actions {
            ObjectiveType::LogLoss
        } else {
            ObjectiveType::SquaredLoss
        };
        let base = start(&known, output, rows.actions);
        forest.base.push(base);
        let same = known.iter().all(|(_, value)| *value == known[0].1);
        if known.is_empty() || same {
            continue;
        }
        // Column by column, as forust wants it.
        let data: Vec<f64> = (0..columns)
            .flat_map(|column| known.iter().map(move |(row, _)| (*row, column)))
            .map(|(row, column)| f64::from(table[row][column]))
            .collect();
        let targets: Vec<f64> = known.iter().map(|(_, value)| *value).collect();
        let mut booster = GradientBooster::default()
            .set_objective_type(objective)
            .set_iterations(terms.rounds)
            .set_learning_rate(terms.shrinkage)
            .set_max_depth(terms.depth)
            .set_max_leaves(1 << terms.depth)
            .set_colsample_bytree(terms.columns)
            .set_base_score(f64::from(base))
            .set_initialize_base_score(false)
            .set_parallel(true)
            .set_seed(seed.wrapping_add(output as u64));
        booster
            .fit_unweighted(&Matrix::new(&data, known.len(), columns), &targets, None)
            .map_err(|error| BaselineError(format!("the trees could not be grown: {error}")))?;
        for tree in &booster.trees {
            forest.trees.push(Tree {
                output,
                nodes: tree
                    .nodes
                    .iter()
                    .map(|node| Node {
                        column: index(node.split_feature),
                        value: if node.is_leaf {
                            node.weight_value
                        } else {
                            threshold(node.split_value)
                        },
                        left: if node.is_leaf {
                            0
                        } else {
                            index(node.left_child)
                        },
                        right: if node.is_leaf {
                            0
                        } else {
                            index(node.right_child)
                        },
                    })
                    .collect(),
            });
        }
    }
    Ok(forest)
}

/// Where an output starts: log-odds of the class, or the mean; a full size and no risk where nothing is known.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "counts of rows, and answers in single precision"
)]
fn start(known: &[(usize, f64)], output: usize, actions: usize) -> f32 {
    if known.is_empty() {
        return f32::from(u8::from(output == actions));
    }
    let count = known.len() as f64;
    let sum: f64 = known.iter().map(|(_, value)| value).sum();
    if output < actions {
        // Half a row more of each kind, so that no class is impossible.
        ((sum + 0.5) / (count - sum + 0.5)).ln() as f32
    } else {
        (sum / count) as f32
    }
}

/// The single-precision number below which lie the same single-precision numbers: the least one not below `split`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "made exact by the comparison"
)]
fn threshold(split: f64) -> f32 {
    let near = split as f32;
    if f64::from(near) < split {
        near.next_up()
    } else {
        near
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("trees have few nodes and columns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_parts_single_precision_numbers_as_the_double_did() {
        for split in [0.1, -0.1, 1.0, 1e-30, 16_777_217.0] {
            let at = threshold(split);
            for x in [at.next_down(), at, at.next_up()] {
                assert_eq!(f64::from(x) < split, x < at, "{x} at {split}");
            }
        }
    }
}
