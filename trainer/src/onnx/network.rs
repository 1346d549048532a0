//! The forward pass of [`crate::spec`] as graphs of standard operators.
//!
//! There are two forms. The streaming form takes one step and, of each layer, the keys and values of the steps
//! before it that the layer still sees; it gives the keys and values of the new step to be kept. The window form
//! takes a whole window. Both answer for the last step.
//!
//! Constant factors are multiplied in here, in f64: the scale and shift of each layer norm go into the matrix
//! behind it, and `1/√d_head` into the queries.

use tickerml_shared::bundle::{GRAPHS, HEAD_LAYERS};
use tickerml_shared::schema::{SchemaId, schema_id};

use super::graph::{Graph, Quantisation, integer, list, number};
use crate::spec::{CLAMP, HIDDEN, LAYER_NORM_EPSILON, Spec, TOKENS};
use crate::weights::Weights;

/// What a graph takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One step and a cache.
    Streaming,
    /// A whole window.
    Window,
}

/// A network about to be written.
pub(super) struct Network<'a> {
    pub(super) spec: &'a Spec,
    pub(super) weights: &'a Weights,
    pub(super) quantisation: Quantisation,
}

/// A matrix with its bias: `[inputs, outputs]` and `[outputs]`.
struct Linear {
    outputs: usize,
    matrix: Vec<f64>,
    bias: Vec<f64>,
}

impl Linear {
    /// Multiplies the scale of a layer norm in and carries its shift through.
    fn behind_norm(mut self, gamma: &[f32], beta: &[f32]) -> Self {
        let rows = self.matrix.chunks_exact_mut(self.outputs);
        for ((row, gamma), beta) in rows.zip(gamma).zip(beta) {
            for (bias, value) in self.bias.iter_mut().zip(row.iter_mut()) {
                *bias += f64::from(*beta) * *value;
                *value *= f64::from(*gamma);
            }
        }
        self
    }

    /// Multiplies the first outputs by a factor.
    fn scale_first(mut self, outputs: usize, factor: f64) -> Self {
        for row in self.matrix.chunks_exact_mut(self.outputs) {
            row[..outputs].iter_mut().for_each(|value| *value *= factor);
        }
        let bias = &mut self.bias[..outputs];
        bias.iter_mut().for_each(|value| *value *= factor);
        self
    }

    /// Some of its outputs.
    fn outputs(&self, range: std::ops::Range<usize>) -> Self {
        let rows = self.matrix.chunks_exact(self.outputs);
        Self {
            outputs: range.len(),
            matrix: rows
                .flat_map(|row| row[range.clone()].iter().copied())
                .collect(),
            bias: self.bias[range].to_vec(),
        }
    }
}

impl Network<'_> {
    /// Embeddings, their norm, and all layers but the last [`HEAD_LAYERS`].
    pub(super) fn backbone(&self, form: Form) -> Vec<u8> {
        let (spec, rows) = (self.spec, self.rows(form));
        let mut graph = Graph::new(
            "backbone",
            "Embeddings and the first layers of a Decision Transformer; a full training alone moves them.",
            self.quantisation,
        );
        let state = graph.input(
            "state",
            &[rows, spec.state],
            "raw features, zero where unknown",
        );
        let valid = graph.input(
            "valid",
            &[rows, spec.state],
            "one where a feature is known, else zero",
        );
        let previous = graph.input(
            "previous_action",
            &[rows, spec.action_inputs()],
            "one-hot of the action before the step, none, its size",
        );
        let wanted = graph.input(
            "return",
            &[rows, 2],
            "return-to-go over return_scale where it is known, else zero; one where it is known",
        );
        let mean = graph.input("mean", &[spec.state], "mean of each feature in training");
        let inverse = graph.input(
            "inverse_scale",
            &[spec.state],
            "one over its standard deviation",
        );
        let visible = self.visible(&mut graph, form);
        let low = graph.constant("clamp.low", &[], &[-CLAMP]);
        let high = graph.constant("clamp.high", &[], &[CLAMP]);
        let x = graph.op("Sub", "centred", &[&state, &mean], &[]);
        let x = graph.op("Mul", "scaled", &[&x, &inverse], &[]);
        let x = graph.op("Clip", "clamped", &[&x, &low, &high], &[]);
        let state = graph.op("Mul", "normalised", &[&x, &valid], &[]);
        let action = self.embed(&mut graph, "action", &previous);
        let wanted = self.embed(&mut graph, "return", &wanted);
        let state = self.embed(&mut graph, "state", &state);
        let mut x = match form {
            Form::Streaming => graph.op(
                "Concat",
                "tokens",
                &[&action, &wanted, &state],
                &[integer("axis", 0)],
            ),
            Form::Window => {
                let side = [integer("axis", 1)];
                let x = graph.op("Concat", "groups", &[&action, &wanted, &state], &side);
                let shape = graph.integers("tokens.shape", &[-1, whole(spec.d_model)]);
                graph.op("Reshape", "tokens", &[&x, &shape], &[])
            }
        };
        let gamma = &self.weights.get("embed_norm.gamma").values;
        let beta = &self.weights.get("embed_norm.beta").values;
        x = self.norm(&mut graph, "embed_norm", &x, Some((gamma, beta)));
        for layer in 0..spec.frozen_layers() {
            x = self.layer(&mut graph, layer, &x, &visible, form, "hidden");
        }
        if spec.frozen_layers() == 0 {
            x = graph.op("Identity", "hidden", &[&x], &[]);
        }
        graph.output(
            &x,
            &[TOKENS * rows, spec.d_model],
            "tokens for the head graph",
        );
        let hash = self.weights.hash(spec, |name| spec.is_backbone(name));
        graph.finish(&self.metadata(form, "backbone", hash))
    }

    /// The last [`HEAD_LAYERS`] layers, the norm and the heads.
    pub(super) fn head(&self, form: Form) -> Vec<u8> {
        let (spec, rows) = (self.spec, self.rows(form));
        let mut graph = Graph::new(
            "head",
            "The last layers and the heads of a Decision Transformer; the weekly refresh moves them.",
            self.quantisation,
        );
        let tokens = [TOKENS * rows, spec.d_model];
        let mut x = graph.input("hidden", &tokens, "the backbone's tokens");
        let visible = self.visible(&mut graph, form);
        for layer in spec.frozen_layers()..spec.layers() {
            x = self.layer(&mut graph, layer, &x, &visible, form, "last");
        }
        let gamma = &self.weights.get("norm.gamma").values;
        let beta = &self.weights.get("norm.beta").values;
        let heads = self.heads().behind_norm(gamma, beta);
        let x = self.norm(&mut graph, "norm", &x, None);
        let x = self.linear(&mut graph, "heads", &x, &heads);
        let actions = whole(spec.actions);
        let parts = graph.integers("heads.parts", &[actions, 2, actions]);
        graph.many(
            "Split",
            "heads.split",
            &[&x, &parts],
            &["action", "shares.logits", "values_of_actions"],
            &[integer("axis", 1)],
        );
        let shares = graph.op("Sigmoid", "shares", &["shares.logits"], &[]);
        let one_each = graph.integers("shares.parts", &[1, 1]);
        graph.many(
            "Split",
            "shares.split",
            &[&shares, &one_each],
            &["size", "risk"],
            &[integer("axis", 1)],
        );
        let last = [integer("axis", -1)];
        let chances = graph.op("Softmax", "chances", &["action"], &last);
        let parts = graph.op("Mul", "value.parts", &[&chances, "values_of_actions"], &[]);
        let axes = graph.integers("value.axes", &[1]);
        graph.op(
            "ReduceSum",
            "value",
            &[&parts, &axes],
            &[integer("keepdims", 1)],
        );
        graph.output(
            "action",
            &[1, spec.actions],
            "logits of the action's classes",
        );
        graph.output("size", &[1, 1], "position size in [0, 1]");
        graph.output("risk", &[1, 1], "risk in [0, 1]");
        graph.output(
            "value",
            &[1, 1],
            "expected return-to-go under the action's probabilities, in units of return_scale",
        );
        let hash = self.weights.hash(spec, |name| !spec.is_backbone(name));
        graph.finish(&self.metadata(form, "head", hash))
    }

    /// Steps that a graph takes.
    fn rows(&self, form: Form) -> usize {
        match form {
            Form::Streaming => 1,
            Form::Window => self.spec.steps,
        }
    }

    /// Keys of a layer: of the steps in its band, or of the whole window.
    fn keys(&self, layer: usize, form: Form) -> usize {
        match form {
            Form::Streaming => TOKENS * self.spec.bands[layer],
            Form::Window => TOKENS * self.spec.steps,
        }
    }

    /// What is added to all scores of a key: 0 or −1e9. In the window form it does not apply to keys of the
    /// query's own step, `[3T, 3T]`; in the streaming form the host gives 0 for these, `[1, keys]`.
    fn visible(&self, graph: &mut Graph, form: Form) -> String {
        match form {
            Form::Streaming => {
                let widest = self.spec.bands.iter().max().copied().unwrap_or(1);
                graph.input(
                    "visible",
                    &[1, TOKENS * widest],
                    "zero for each visible key, −1e9 for each hidden one, by age; zero for the own step",
                )
            }
            Form::Window => {
                let keys = TOKENS * self.spec.steps;
                let visible = graph.input(
                    "visible",
                    &[1, keys],
                    "zero for each visible key, −1e9 for each hidden one; the own step is always visible",
                );
                let other = |query: usize, key: usize| query / TOKENS != key / TOKENS;
                let places = (0..keys).flat_map(|query| (0..keys).map(move |key| (query, key)));
                let values: Vec<f32> = places
                    .map(|(query, key)| f32::from(u8::from(other(query, key))))
                    .collect();
                let others = graph.constant("other_step", &[keys, keys], &values);
                graph.op("Mul", "hidden_keys", &[&others, &visible], &[])
            }
        }
    }

    fn embed(&self, graph: &mut Graph, name: &str, input: &str) -> String {
        let linear = self.weights_of(name, self.spec.d_model);
        self.linear(graph, &format!("embed.{name}"), input, &linear)
    }

    /// One layer; its result is called `last_name` when it is the graph's last.
    fn layer(
        &self,
        graph: &mut Graph,
        layer: usize,
        x: &str,
        visible: &str,
        form: Form,
        last_name: &str,
    ) -> String {
        let (spec, name) = (self.spec, format!("layer.{layer}"));
        let get = |part: &str| &self.weights.get(&format!("{name}.{part}")).values[..];
        let (width, is_last) = (spec.d_model, layer + 1 == spec.layers());
        #[expect(clippy::cast_precision_loss, reason = "a small size")]
        let scale = 1.0 / (spec.d_head() as f64).sqrt();
        let qkv = self
            .weights_of(&format!("{name}.qkv"), 3 * width)
            .behind_norm(get("norm1.gamma"), get("norm1.beta"))
            .scale_first(width, scale);
        let h = self.norm(graph, &format!("{name}.norm1"), x, None);
        let (residual, queries) = if is_last {
            (self.last_row(graph, "last_token", x, form), 1)
        } else {
            (x.to_owned(), TOKENS * self.rows(form))
        };
        let (q, k, v) = if is_last {
            // Only the last state token is asked for.
            let row = self.last_row(graph, "last_query", &h, form);
            let q = self.linear(
                graph,
                &format!("{name}.query"),
                &row,
                &qkv.outputs(0..width),
            );
            let q = self.by_head(graph, &format!("{name}.q"), &q, 1)[0].clone();
            let kv = self.linear(
                graph,
                &format!("{name}.kv"),
                &h,
                &qkv.outputs(width..3 * width),
            );
            let kv = self.by_head(graph, &format!("{name}.kv"), &kv, 2);
            (q, kv[0].clone(), kv[1].clone())
        } else {
            let qkv = self.linear(graph, &format!("{name}.qkv"), &h, &qkv);
            let qkv = self.by_head(graph, &format!("{name}.qkv"), &qkv, 3);
            (qkv[0].clone(), qkv[1].clone(), qkv[2].clone())
        };
        let attended = self.attention(graph, layer, [&q, &k, &v], visible, form, queries);
        let out = self.weights_of(&format!("{name}.out"), width);
        let out = self.linear(graph, &format!("{name}.out"), &attended, &out);
        let x = graph.op("Add", &format!("{name}.attended"), &[&residual, &out], &[]);
        let up = self
            .weights_of(&format!("{name}.up"), spec.d_ff)
            .behind_norm(get("norm2.gamma"), get("norm2.beta"));
        let h = self.norm(graph, &format!("{name}.norm2"), &x, None);
        let h = self.linear(graph, &format!("{name}.up"), &h, &up);
        let h = graph.op("Gelu", &format!("{name}.gelu"), &[&h], &[]);
        let down = self.weights_of(&format!("{name}.down"), width);
        let h = self.linear(graph, &format!("{name}.down"), &h, &down);
        let ends = is_last || layer + 1 == spec.frozen_layers();
        let sum = if ends {
            last_name.to_owned()
        } else {
            format!("{name}.sum")
        };
        graph.op("Add", &sum, &[&x, &h], &[])
    }

    /// Softmax over the visible keys, `[queries, d]`.
    fn attention(
        &self,
        graph: &mut Graph,
        layer: usize,
        [q, k, v]: [&str; 3],
        visible: &str,
        form: Form,
        queries: usize,
    ) -> String {
        let (spec, name) = (self.spec, format!("layer.{layer}"));
        let (band, heads, d_head) = (spec.bands[layer], spec.heads, spec.d_head());
        let keys = self.keys(layer, form);
        let (mut all_keys, mut all_values) = (k.to_owned(), v.to_owned());
        if form == Form::Streaming {
            let fresh = [heads, TOKENS, d_head];
            graph.output(k, &fresh, "keys of this step, to be kept");
            graph.output(v, &fresh, "values of this step, to be kept");
            if band > 1 {
                let kept = [heads, keys - TOKENS, d_head];
                let by_age = "of the steps before that the layer sees, the oldest first";
                let cached = graph.input(&format!("keys.{layer}"), &kept, by_age);
                let axis = [integer("axis", 1)];
                all_keys = graph.op("Concat", &format!("{name}.keys"), &[&cached, k], &axis);
                let cached = graph.input(&format!("values.{layer}"), &kept, by_age);
                all_values = graph.op("Concat", &format!("{name}.values"), &[&cached, v], &axis);
            }
        }
        let turned = graph.op(
            "Transpose",
            &format!("{name}.keys.turned"),
            &[&all_keys],
            &[list("perm", &[0, 2, 1])],
        );
        let scores = graph.op("MatMul", &format!("{name}.scores"), &[q, &turned], &[]);
        let bias = self.bias(layer, form, queries);
        let bias = graph.constant(&format!("{name}.bias"), &[heads, queries, keys], &bias);
        let scores = graph.op("Add", &format!("{name}.biased"), &[&scores, &bias], &[]);
        let mask = self.mask(graph, layer, visible, form, queries);
        let scores = graph.op("Add", &format!("{name}.masked"), &[&scores, &mask], &[]);
        let last = [integer("axis", -1)];
        let shares = graph.op("Softmax", &format!("{name}.softmax"), &[&scores], &last);
        let mixed = graph.op(
            "MatMul",
            &format!("{name}.mixed"),
            &[&shares, &all_values],
            &[],
        );
        let mixed = graph.op(
            "Transpose",
            &format!("{name}.mixed.turned"),
            &[&mixed],
            &[list("perm", &[1, 0, 2])],
        );
        let shape = graph.integers(
            &format!("{name}.mixed.shape"),
            &[whole(queries), whole(spec.d_model)],
        );
        graph.op(
            "Reshape",
            &format!("{name}.mixed.flat"),
            &[&mixed, &shape],
            &[],
        )
    }

    /// The part of the mask that a layer uses.
    fn mask(
        &self,
        graph: &mut Graph,
        layer: usize,
        visible: &str,
        form: Form,
        queries: usize,
    ) -> String {
        let name = format!("layer.{layer}.mask");
        let cut = |graph: &mut Graph, from: usize, to: usize, axis: i64| {
            let from = graph.integers(&format!("{name}.from"), &[whole(from)]);
            let to = graph.integers(&format!("{name}.to"), &[whole(to)]);
            let axis = graph.integers(&format!("{name}.axis"), &[axis]);
            graph.op("Slice", &name, &[visible, &from, &to, &axis], &[])
        };
        let keys = self.keys(layer, form);
        match form {
            Form::Streaming => {
                let widest = TOKENS * self.spec.bands.iter().max().copied().unwrap_or(1);
                if keys == widest {
                    return visible.to_owned();
                }
                cut(graph, widest - keys, widest, 1)
            }
            Form::Window if queries < keys => cut(graph, keys - queries, keys, 0),
            Form::Window => visible.to_owned(),
        }
    }

    /// Relative bias, causality and band of a layer's scores: `[heads, queries, keys]`, for the last queries.
    fn bias(&self, layer: usize, form: Form, queries: usize) -> Vec<f32> {
        let (spec, keys) = (self.spec, self.keys(layer, form));
        let relative = self.weights.get(&format!("layer.{layer}.relative"));
        let span = TOKENS * spec.bands[layer];
        let mut bias = Vec::with_capacity(spec.heads * queries * keys);
        for by_distance in relative.values.chunks_exact(span) {
            for query in keys - queries..keys {
                let oldest = (query / TOKENS + 1).saturating_sub(spec.bands[layer]) * TOKENS;
                bias.extend((0..keys).map(|key| {
                    if key > query || key < oldest {
                        HIDDEN
                    } else {
                        by_distance[query - key]
                    }
                }));
            }
        }
        bias
    }

    /// Splits `[n, parts · d]` by head: `[heads, n, d_head]` each.
    fn by_head(&self, graph: &mut Graph, name: &str, x: &str, parts: usize) -> Vec<String> {
        let (heads, d_head) = (whole(self.spec.heads), whole(self.spec.d_head()));
        let count = whole(parts);
        let shape = graph.integers(&format!("{name}.shape"), &[-1, count * heads, d_head]);
        let x = graph.op("Reshape", &format!("{name}.heads"), &[x, &shape], &[]);
        let order = [list("perm", &[1, 0, 2])];
        let x = graph.op("Transpose", &format!("{name}.by_head"), &[&x], &order);
        if parts == 1 {
            return vec![x];
        }
        let layer = name.rsplit_once('.').map_or(name, |(layer, _)| layer);
        let layer = layer.trim_start_matches("layer.");
        let names = [
            format!("layer.{layer}.q"),
            format!("new_keys.{layer}"),
            format!("new_values.{layer}"),
        ];
        let names = &names[3 - parts..];
        let sizes = graph.integers(&format!("{name}.parts"), &vec![heads; parts]);
        let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
        graph.many(
            "Split",
            &format!("{name}.split"),
            &[&x, &sizes],
            &outputs,
            &[integer("axis", 0)],
        );
        names.to_vec()
    }

    fn last_row(&self, graph: &mut Graph, name: &str, x: &str, form: Form) -> String {
        let rows = whole(TOKENS * self.rows(form));
        let from = graph.integers(&format!("{name}.from"), &[rows - 1]);
        let to = graph.integers(&format!("{name}.to"), &[rows]);
        let axis = graph.integers(&format!("{name}.axis"), &[0]);
        graph.op("Slice", name, &[x, &from, &to, &axis], &[])
    }

    /// A layer norm; its scale and shift belong to what follows unless they are given.
    fn norm(
        &self,
        graph: &mut Graph,
        name: &str,
        x: &str,
        scale: Option<(&[f32], &[f32])>,
    ) -> String {
        let width = self.spec.d_model;
        let attributes = [integer("axis", -1), number("epsilon", LAYER_NORM_EPSILON)];
        let ones = vec![1.0; width];
        let (gamma, beta) = scale.map_or((&ones[..], None), |(gamma, beta)| (gamma, Some(beta)));
        let gamma = graph.constant(&format!("{name}.gamma"), &[width], gamma);
        match beta {
            Some(beta) => {
                let beta = graph.constant(&format!("{name}.beta"), &[width], beta);
                graph.op("LayerNormalization", name, &[x, &gamma, &beta], &attributes)
            }
            None => graph.op("LayerNormalization", name, &[x, &gamma], &attributes),
        }
    }

    fn linear(&self, graph: &mut Graph, name: &str, x: &str, linear: &Linear) -> String {
        let inputs = linear.matrix.len() / linear.outputs;
        let matrix = narrow(&linear.matrix);
        let matrix = graph.matrix(&format!("{name}.weight"), [inputs, linear.outputs], &matrix);
        let bias = graph.constant(
            &format!("{name}.bias"),
            &[linear.outputs],
            &narrow(&linear.bias),
        );
        let product = graph.op("MatMul", &format!("{name}.product"), &[x, &matrix], &[]);
        graph.op("Add", name, &[&product, &bias], &[])
    }

    fn weights_of(&self, name: &str, outputs: usize) -> Linear {
        let widen = |part: &str| {
            let tensor = self.weights.get(&format!("{name}.{part}"));
            tensor.values.iter().copied().map(f64::from).collect()
        };
        Linear {
            outputs,
            matrix: widen("weight"),
            bias: widen("bias"),
        }
    }

    /// All heads side by side: action, size, risk, value.
    fn heads(&self) -> Linear {
        let actions = self.spec.actions;
        let parts = [
            ("head.action", actions),
            ("head.size", 1),
            ("head.risk", 1),
            ("head.value", actions),
        ];
        let parts: Vec<Linear> = parts
            .iter()
            .map(|(name, outputs)| self.weights_of(name, *outputs))
            .collect();
        let rows = (0..self.spec.d_model).flat_map(|row| {
            let cut = move |part: &Linear| {
                part.matrix[row * part.outputs..(row + 1) * part.outputs].to_vec()
            };
            parts.iter().flat_map(cut)
        });
        Linear {
            outputs: 2 * actions + 2,
            matrix: rows.collect(),
            bias: parts
                .iter()
                .flat_map(|part| part.bias.iter().copied())
                .collect(),
        }
    }

    fn metadata(
        &self,
        form: Form,
        part: &'static str,
        hash: [u8; 32],
    ) -> Vec<(&'static str, String)> {
        let spec = self.spec;
        let form = match form {
            Form::Streaming => "streaming",
            Form::Window => "window",
        };
        let shape = format!(
            "state {}, actions {}, steps {}, d_model {}, heads {}, d_ff {}, bands {:?}, head layers {HEAD_LAYERS}",
            spec.state, spec.actions, spec.steps, spec.d_model, spec.heads, spec.d_ff, spec.bands
        );
        vec![
            ("tickerml.schema", schema_id().to_string()),
            ("tickerml.graphs", GRAPHS.to_string()),
            ("tickerml.part", part.to_owned()),
            ("tickerml.form", form.to_owned()),
            ("tickerml.shape", shape),
            ("tickerml.weights", SchemaId(hash).to_string()),
        ]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

fn whole(size: usize) -> i64 {
    i64::try_from(size).expect("a size in memory")
}
