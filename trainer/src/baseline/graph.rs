//! A baseline as an ONNX graph: opset 20, and `ai.onnx.ml` 3 for trees.
//!
//! tract knows `TreeEnsembleClassifier` but not the regressor, so all outputs of a forest are "classes" of one
//! classifier whose scores are taken as they are.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

use super::dense::{Network, Squash};
use super::trees::Forest;
use super::{Baseline, Model};
use crate::spec::CLAMP;

/// Version of the standard operators.
const OPSET: i64 = 20;
/// Version of the operators for trees.
const ML_OPSET: i64 = 3;
/// Version of the file format that goes with them.
const IR: i64 = 9;

/// A graph that grows node by node.
#[derive(Default)]
struct Graph {
    nodes: Vec<NodeProto>,
    tensors: Vec<TensorProto>,
}

impl Graph {
    /// Adds a node with one output, which gets its name.
    fn node(
        &mut self,
        kind: &str,
        inputs: &[&str],
        name: &str,
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![name.to_owned()],
            name: format!("{name}.{kind}"),
            op_type: kind.to_owned(),
            attribute: attributes,
            ..NodeProto::default()
        });
        name.to_owned()
    }

    /// Adds numbers of a shape.
    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.tensors.push(TensorProto {
            dims: shape.iter().map(|size| int(*size)).collect(),
            data_type: DataType::Float as i32,
            raw_data: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            name: name.to_owned(),
            ..TensorProto::default()
        });
        name.to_owned()
    }

    /// Adds whole numbers in a row.
    fn ints(&mut self, name: &str, values: &[usize]) -> String {
        self.tensors.push(TensorProto {
            dims: vec![int(values.len())],
            data_type: DataType::Int64 as i32,
            raw_data: values
                .iter()
                .flat_map(|value| int(*value).to_le_bytes())
                .collect(),
            name: name.to_owned(),
            ..TensorProto::default()
        });
        name.to_owned()
    }

    /// Takes some columns of a matrix.
    fn columns(&mut self, of: &str, from: usize, to: usize, name: &str) -> String {
        let starts = self.ints(&format!("{name}.from"), &[from]);
        let ends = self.ints(&format!("{name}.to"), &[to]);
        let axes = self.ints(&format!("{name}.axis"), &[1]);
        self.node("Slice", &[of, &starts, &ends, &axes], name, vec![])
    }

    /// Cuts numbers off at both ends.
    fn clip(&mut self, of: &str, low: f32, high: f32, name: &str) -> String {
        let low = self.floats(&format!("{name}.low"), &[], &[low]);
        let high = self.floats(&format!("{name}.high"), &[], &[high]);
        self.node("Clip", &[of, &low, &high], name, vec![])
    }
}

/// The graph of a baseline.
pub(super) fn write(baseline: &Baseline) -> ModelProto {
    let wide = baseline.look_back * baseline.state;
    let actions = baseline.actions;
    let mut graph = Graph::default();
    match &baseline.model {
        Model::Dense(network) => dense(&mut graph, baseline, network),
        Model::Trees(forest) => trees(&mut graph, forest, actions),
    }
    let graph = GraphProto {
        name: format!("tickerml-baseline-{}", baseline.kind.name()),
        node: graph.nodes,
        initializer: graph.tensors,
        input: vec![value("states", wide), value("valid", wide)],
        output: vec![
            value("action", actions),
            value("size", 1),
            value("risk", 1),
            value("value", actions),
        ],
        ..GraphProto::default()
    };
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: domain.to_owned(),
        version,
    };
    ModelProto {
        ir_version: IR,
        opset_import: vec![opset("", OPSET), opset("ai.onnx.ml", ML_OPSET)],
        producer_name: "tickerml".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn dense(graph: &mut Graph, baseline: &Baseline, network: &Network) {
    let (wide, actions) = (baseline.look_back * baseline.state, baseline.actions);
    let tiled = |one: &[f32]| one.repeat(baseline.look_back);
    let mean = graph.floats("mean", &[1, wide], &tiled(&baseline.statistics.mean));
    let scale = graph.floats(
        "inverse_scale",
        &[1, wide],
        &tiled(&baseline.statistics.inverse_scale),
    );
    let centred = graph.node("Sub", &["states", &mean], "centred", vec![]);
    let scaled = graph.node("Mul", &[&centred, &scale], "scaled", vec![]);
    let clamped = graph.clip(&scaled, -CLAMP, CLAMP, "clamped");
    let normal = graph.node("Mul", &[&clamped, "valid"], "normal", vec![]);
    let mut x = graph.node(
        "Concat",
        &[&normal, "valid"],
        "inputs",
        vec![number("axis", 1)],
    );
    for (at, layer) in network.layers.iter().enumerate() {
        if at > 0 {
            x = graph.node("Relu", &[&x], &format!("hidden.{at}"), vec![]);
        }
        let weight = graph.floats(
            &format!("{at}.weight"),
            &[layer.inputs, layer.outputs],
            &layer.weight,
        );
        let bias = graph.floats(&format!("{at}.bias"), &[layer.outputs], &layer.bias);
        x = graph.node(
            "Gemm",
            &[&x, &weight, &bias],
            &format!("layer.{at}"),
            vec![],
        );
    }
    graph.columns(&x, 0, actions, "action");
    for (at, name) in ["size", "risk"].into_iter().enumerate() {
        let raw = graph.columns(&x, actions + at, actions + at + 1, &format!("{name}.raw"));
        match network.squash {
            Squash::Clip => graph.clip(&raw, 0.0, 1.0, name),
            Squash::Sigmoid => graph.node("Sigmoid", &[&raw], name, vec![]),
        };
    }
    graph.columns(&x, actions + 2, 2 * actions + 2, "value");
}

fn trees(graph: &mut Graph, forest: &Forest, actions: usize) {
    let known = graph.node("Mul", &["states", "valid"], "known", vec![]);
    let inputs = graph.node(
        "Concat",
        &[&known, "valid"],
        "inputs",
        vec![number("axis", 1)],
    );
    graph.nodes.push(NodeProto {
        input: vec![inputs],
        output: vec!["label".to_owned(), "sums".to_owned()],
        name: "forest".to_owned(),
        op_type: "TreeEnsembleClassifier".to_owned(),
        domain: "ai.onnx.ml".to_owned(),
        attribute: ensemble(forest),
        ..NodeProto::default()
    });
    let margins = graph.columns("sums", 0, actions, "margins");
    // The logarithm of the logistic function.
    let negated = graph.node("Neg", &[&margins], "margins.negated", vec![]);
    let soft = graph.node("Softplus", &[&negated], "margins.softplus", vec![]);
    graph.node("Neg", &[&soft], "action", vec![]);
    for (at, name) in ["size", "risk"].into_iter().enumerate() {
        let raw = graph.columns(
            "sums",
            actions + at,
            actions + at + 1,
            &format!("{name}.raw"),
        );
        graph.clip(&raw, 0.0, 1.0, name);
    }
    graph.columns("sums", actions + 2, 2 * actions + 2, "value");
}

/// The attributes of a forest. Where there is no tree at all, one that adds nothing stands in.
fn ensemble(forest: &Forest) -> Vec<AttributeProto> {
    let stump = super::trees::Tree {
        output: 0,
        nodes: vec![super::trees::Node {
            column: 0,
            value: 0.0,
            left: 0,
            right: 0,
        }],
    };
    let alone = [stump];
    let all = if forest.trees.is_empty() {
        &alone[..]
    } else {
        &forest.trees[..]
    };
    let (mut tree_ids, mut node_ids, mut columns, mut values) = (vec![], vec![], vec![], vec![]);
    let (mut modes, mut truths, mut falses) = (vec![], vec![], vec![]);
    let (mut leaf_trees, mut leaf_nodes, mut leaf_classes, mut leaf_weights) =
        (vec![], vec![], vec![], vec![]);
    for (tree_id, tree) in all.iter().enumerate() {
        for (node_id, node) in tree.nodes.iter().enumerate() {
            let leaf = node.left == 0;
            tree_ids.push(int(tree_id));
            node_ids.push(int(node_id));
            columns.push(i64::from(if leaf { 0 } else { node.column }));
            values.push(if leaf { 0.0 } else { node.value });
            modes.push(if leaf { "LEAF" } else { "BRANCH_LT" });
            truths.push(i64::from(node.left));
            falses.push(i64::from(node.right));
            if leaf {
                leaf_trees.push(int(tree_id));
                leaf_nodes.push(int(node_id));
                leaf_classes.push(int(tree.output));
                leaf_weights.push(node.value);
            }
        }
    }
    vec![
        numbers("nodes_treeids", tree_ids),
        numbers("nodes_nodeids", node_ids),
        numbers("nodes_featureids", columns),
        reals("nodes_values", values),
        AttributeProto {
            name: "nodes_modes".to_owned(),
            r#type: AttributeType::Strings as i32,
            strings: modes
                .into_iter()
                .map(|mode| mode.as_bytes().to_vec())
                .collect(),
            ..AttributeProto::default()
        },
        numbers("nodes_truenodeids", truths),
        numbers("nodes_falsenodeids", falses),
        numbers("class_treeids", leaf_trees),
        numbers("class_nodeids", leaf_nodes),
        numbers("class_ids", leaf_classes),
        reals("class_weights", leaf_weights),
        numbers(
            "classlabels_int64s",
            (0..forest.base.len()).map(int).collect(),
        ),
        reals("base_values", forest.base.clone()),
        AttributeProto {
            name: "post_transform".to_owned(),
            r#type: AttributeType::String as i32,
            s: b"NONE".to_vec(),
            ..AttributeProto::default()
        },
    ]
}

/// A matrix with any number of rows.
fn value(name: &str, columns: usize) -> ValueInfoProto {
    let dimension = |value| Dimension {
        value: Some(value),
        ..Dimension::default()
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: DataType::Float as i32,
                shape: Some(TensorShapeProto {
                    dim: vec![
                        dimension(dimension::Value::DimParam("batch".to_owned())),
                        dimension(dimension::Value::DimValue(int(columns))),
                    ],
                }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn number(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i,
        ..AttributeProto::default()
    }
}

fn numbers(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints,
        ..AttributeProto::default()
    }
}

fn reals(name: &str, floats: Vec<f32>) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Floats as i32,
        floats,
        ..AttributeProto::default()
    }
}

fn int(value: usize) -> i64 {
    i64::try_from(value).expect("a size that fits into memory")
}
