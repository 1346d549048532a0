//! A graph in ONNX's own form, node by node.
//!
//! Only operators of the standard opset, fixed shapes, and one order of everything: the same numbers give
//! the same bytes.

use prost::Message as _;
use tract_onnx::pb;

/// The standard operators' version.
const OPSET: i64 = 20;
/// The file format's version, the one that came with [`OPSET`].
const IR_VERSION: i64 = 9;
/// Largest magnitude of an eight-bit weight; −128 stays unused, so that scales are symmetric.
const INT8_MAX: f32 = 127.0;

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantisation {
    /// In 32 bits, exactly.
    None,
    /// In eight bits with a scale for each output: a quarter of the size; they are widened again when a graph is loaded.
    Int8,
}

/// A graph that is being written. A value is known by its name.
#[derive(Debug)]
pub(super) struct Graph {
    proto: pb::GraphProto,
    quantisation: Quantisation,
}

impl Graph {
    pub(super) fn new(name: &str, doc: &str, quantisation: Quantisation) -> Self {
        let proto = pb::GraphProto {
            name: name.to_owned(),
            doc_string: doc.to_owned(),
            ..pb::GraphProto::default()
        };
        Self {
            proto,
            quantisation,
        }
    }

    /// An input of f32.
    pub(super) fn input(&mut self, name: &str, shape: &[usize], doc: &str) -> String {
        self.proto.input.push(described(name, shape, doc));
        name.to_owned()
    }

    /// An output: a value of that name.
    pub(super) fn output(&mut self, name: &str, shape: &[usize], doc: &str) {
        self.proto.output.push(described(name, shape, doc));
    }

    /// A constant of f32, the last axis fastest.
    pub(super) fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.tensor(name, shape, pb::tensor_proto::DataType::Float, bytes)
    }

    /// A constant of whole numbers: shapes, axes and places.
    pub(super) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let kind = pb::tensor_proto::DataType::Int64;
        self.tensor(name, &[values.len()], kind, bytes)
    }

    /// A matrix of weights `[inputs, outputs]`, in the form that the graph stores them in.
    pub(super) fn matrix(&mut self, name: &str, shape: [usize; 2], values: &[f32]) -> String {
        match self.quantisation {
            Quantisation::None => self.constant(name, &shape, values),
            Quantisation::Int8 => {
                let (scales, codes) = quantise(values, shape[1]);
                let bytes = codes.iter().flat_map(|code| code.to_le_bytes());
                let kind = pb::tensor_proto::DataType::Int8;
                let codes = self.tensor(&format!("{name}.int8"), &shape, kind, bytes);
                let scales = self.constant(&format!("{name}.scale"), &[shape[1]], &scales);
                let axis = [integer("axis", 1)];
                self.op("DequantizeLinear", name, &[&codes, &scales], &axis)
            }
        }
    }

    /// A node with one output, which has the node's name.
    pub(super) fn op(
        &mut self,
        kind: &str,
        name: &str,
        inputs: &[&str],
        attributes: &[pb::AttributeProto],
    ) -> String {
        self.many(kind, name, inputs, &[name], attributes);
        name.to_owned()
    }

    /// A node with several outputs.
    pub(super) fn many(
        &mut self,
        kind: &str,
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[pb::AttributeProto],
    ) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        self.proto.node.push(pb::NodeProto {
            input: owned(inputs),
            output: owned(outputs),
            name: name.to_owned(),
            op_type: kind.to_owned(),
            attribute: attributes.to_vec(),
            ..pb::NodeProto::default()
        });
    }

    /// The file's bytes.
    pub(super) fn finish(self, metadata: &[(&str, String)]) -> Vec<u8> {
        let entry = |(key, value): &(&str, String)| pb::StringStringEntryProto {
            key: (*key).to_owned(),
            value: value.clone(),
        };
        let model = pb::ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![pb::OperatorSetIdProto {
                domain: String::new(),
                version: OPSET,
            }],
            producer_name: "tickerml-trainer".to_owned(),
            doc_string: self.proto.doc_string.clone(),
            graph: Some(self.proto),
            metadata_props: metadata.iter().map(entry).collect(),
            ..pb::ModelProto::default()
        };
        model.encode_to_vec()
    }

    fn tensor(
        &mut self,
        name: &str,
        shape: &[usize],
        kind: pb::tensor_proto::DataType,
        bytes: impl Iterator<Item = u8>,
    ) -> String {
        self.proto.initializer.push(pb::TensorProto {
            dims: dims(shape),
            data_type: kind as i32,
            name: name.to_owned(),
            raw_data: bytes.collect(),
            ..pb::TensorProto::default()
        });
        name.to_owned()
    }
}

/// Scales and codes of a matrix `[inputs, outputs]`: `weight ≈ scale[output] · code`.
fn quantise(values: &[f32], outputs: usize) -> (Vec<f32>, Vec<i8>) {
    let mut scales = vec![0.0_f32; outputs];
    for row in values.chunks_exact(outputs) {
        for (scale, value) in scales.iter_mut().zip(row) {
            *scale = scale.max(value.abs());
        }
    }
    for scale in &mut scales {
        *scale = if *scale > 0.0 { *scale / INT8_MAX } else { 1.0 };
    }
    let code = |(value, scale): (&f32, &f32)| {
        #[expect(clippy::cast_possible_truncation, reason = "clamped to eight bits")]
        let code = (value / scale).round().clamp(-INT8_MAX, INT8_MAX) as i8;
        code
    };
    let rows = values.chunks_exact(outputs);
    let codes = rows.flat_map(|row| row.iter().zip(&scales).map(code));
    let codes = codes.collect();
    (scales, codes)
}

fn dims(shape: &[usize]) -> Vec<i64> {
    let size = |size: &usize| i64::try_from(*size).expect("a size in memory");
    shape.iter().map(size).collect()
}

fn described(name: &str, shape: &[usize], doc: &str) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |size| Dimension {
        denotation: String::new(),
        value: Some(Value::DimValue(size)),
    };
    let tensor = pb::type_proto::Tensor {
        elem_type: pb::tensor_proto::DataType::Float as i32,
        shape: Some(pb::TensorShapeProto {
            dim: dims(shape).into_iter().map(dim).collect(),
        }),
    };
    pb::ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(pb::TypeProto {
            denotation: String::new(),
            value: Some(pb::type_proto::Value::TensorType(tensor)),
        }),
        doc_string: doc.to_owned(),
    }
}

/// A whole number as an attribute.
pub(super) fn integer(name: &str, value: i64) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.to_owned(),
        r#type: pb::attribute_proto::AttributeType::Int as i32,
        i: value,
        ..pb::AttributeProto::default()
    }
}

/// A number as an attribute.
pub(super) fn number(name: &str, value: f32) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.to_owned(),
        r#type: pb::attribute_proto::AttributeType::Float as i32,
        f: value,
        ..pb::AttributeProto::default()
    }
}

/// Whole numbers as an attribute.
pub(super) fn list(name: &str, values: &[i64]) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.to_owned(),
        r#type: pb::attribute_proto::AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..pb::AttributeProto::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bits_lose_at_most_half_a_step_of_their_output() {
        let values = [1.0, -0.5, 0.0, 0.003, -2.54, 0.0];
        let (scales, codes) = quantise(&values, 3);
        assert_eq!(codes[4], -127, "the largest is exact");
        assert_eq!((codes[2], codes[5]), (0, 0), "an output of zeros stays");
        for (index, value) in values.iter().enumerate() {
            let scale = scales[index % 3];
            let back = f32::from(codes[index]) * scale;
            assert!(
                (back - value).abs() <= scale * 0.5 + 1e-7,
                "{value}: {back}"
            );
        }
    }
}
