//! Writes an ONNX model piece by piece into one buffer, so that the weights are in memory once.
//!
//! A graph's fields may stand in any order in the file. The writer appends each as it comes and
//! fills in the graph's length at the end; it doesn't check that the graph makes sense.

use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::proto::{
    AttributeProto, Dimension, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorType, TypeProto, ValueInfoProto, attribute_type, data_type,
};
use crate::{ModelError, Result};

/// Bytes that a protobuf message may have; every reader rejects more.
pub(crate) const MODEL_BYTES_MAX: usize = (1 << 31) - 1;

/// The file format's version: the one that came with operator set 17 and later.
const IR_VERSION: i64 = 8;

/// Bytes that the graph's length takes: enough for [`MODEL_BYTES_MAX`].
const LENGTH_BYTES: usize = 5;

/// Field numbers of `GraphProto` and of `TensorProto.raw_data`.
const NODE: u32 = 1;
const NAME: u32 = 2;
const INITIALIZER: u32 = 5;
const INPUT: u32 = 11;
const OUTPUT: u32 = 12;
const RAW_DATA: u32 = 9;

/// A dimension of an input or an output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dim<'a> {
    Known(usize),
    Named(&'a str),
}

/// A model that is being written.
#[derive(Debug)]
pub(crate) struct ModelWriter {
    buffer: Vec<u8>,
    /// Where the graph begins.
    graph_start: usize,
}

impl ModelWriter {
    /// Starts a model that uses these operator sets (`""` is ONNX's own).
    pub(crate) fn new(name: &str, opsets: &[(&str, i64)]) -> Self {
        let head = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("sembla".to_string()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_string()),
            opset_import: opsets
                .iter()
                .map(|(domain, version)| OperatorSetIdProto {
                    domain: Some(domain.to_string()),
                    version: Some(*version),
                })
                .collect(),
            ..ModelProto::default()
        };
        let mut buffer = head.encode_to_vec();
        encode_key(7, WireType::LengthDelimited, &mut buffer);
        buffer.extend([0; LENGTH_BYTES]);
        let graph_start = buffer.len();
        encode_key(NAME, WireType::LengthDelimited, &mut buffer);
        encode_varint(name.len() as u64, &mut buffer);
        buffer.extend(name.as_bytes());
        Self { buffer, graph_start }
    }

    /// Adds a node.
    pub(crate) fn node(
        &mut self,
        (domain, op_type): (&str, &str),
        inputs: &[&str],
        outputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let node = NodeProto {
            input: owned(inputs),
            output: owned(outputs),
            name: outputs.first().map(|output| format!("make_{output}")),
            op_type: Some(op_type.to_string()),
            domain: (!domain.is_empty()).then(|| domain.to_string()),
            attribute: attributes,
            ..NodeProto::default()
        };
        self.field(NODE, &node);
    }

    /// Adds an input of the graph.
    pub(crate) fn input(&mut self, name: &str, element: i32, dims: &[Dim<'_>]) {
        self.field(INPUT, &value_info(name, element, dims));
    }

    /// Adds an output of the graph.
    pub(crate) fn output(&mut self, name: &str, element: i32, dims: &[Dim<'_>]) {
        self.field(OUTPUT, &value_info(name, element, dims));
    }

    /// Adds a constant of floats; `values` gives as many as `dims` say.
    ///
    /// # Errors
    /// When the model would become larger than a protobuf can be.
    pub(crate) fn floats(
        &mut self,
        name: &str,
        dims: &[usize],
        values: impl Iterator<Item = f32>,
    ) -> Result<()> {
        self.values(name, dims, data_type::FLOAT, values.map(f32::to_le_bytes))
    }

    /// Adds a constant of 16-bit floats, given by their bits; `values` gives as many as `dims` say.
    ///
    /// # Errors
    /// When the model would become larger than a protobuf can be.
    pub(crate) fn halves(
        &mut self,
        name: &str,
        dims: &[usize],
        values: impl Iterator<Item = u16>,
    ) -> Result<()> {
        self.values(name, dims, data_type::FLOAT16, values.map(u16::to_le_bytes))
    }

    /// Adds a constant whose values have `N` bytes each.
    fn values<const N: usize>(
        &mut self,
        name: &str,
        dims: &[usize],
        element: i32,
        values: impl Iterator<Item = [u8; N]>,
    ) -> Result<()> {
        let count: usize = dims.iter().product();
        self.tensor(name, dims, element, count * N)?;
        let end = self.buffer.len() + count * N;
        for value in values.take(count) {
            self.buffer.extend(value);
        }
        if self.buffer.len() != end {
            return Err(ModelError::Bug(format!("the constant '{name}' has too few values")));
        }
        Ok(())
    }

    /// Adds a constant of whole numbers.
    ///
    /// # Errors
    /// When the model would become larger than a protobuf can be.
    pub(crate) fn ints(&mut self, name: &str, dims: &[usize], values: &[i64]) -> Result<()> {
        self.tensor(name, dims, data_type::INT64, values.len() * 8)?;
        for value in values {
            self.buffer.extend(value.to_le_bytes());
        }
        Ok(())
    }

    /// The finished model.
    ///
    /// # Errors
    /// When it is larger than a protobuf can be.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        check_size(self.buffer.len())?;
        let mut left = self.buffer.len() - self.graph_start;
        let place = self.graph_start - LENGTH_BYTES..self.graph_start;
        for (index, byte) in self.buffer[place].iter_mut().enumerate() {
            // A varint of fixed width: every byte but the last says that another follows.
            let more = if index + 1 < LENGTH_BYTES { 0x80 } else { 0 };
            *byte = (left & 0x7f) as u8 | more;
            left >>= 7;
        }
        Ok(self.buffer)
    }

    /// Everything of a constant but its `bytes` of data, which the caller appends.
    fn tensor(&mut self, name: &str, dims: &[usize], element: i32, bytes: usize) -> Result<()> {
        check_size(self.buffer.len().saturating_add(bytes))?;
        let head = TensorProto {
            dims: dims.iter().map(|dim| *dim as i64).collect(),
            data_type: Some(element),
            name: Some(name.to_string()),
            ..TensorProto::default()
        };
        let mut raw_key = Vec::new();
        encode_key(RAW_DATA, WireType::LengthDelimited, &mut raw_key);
        let data = raw_key.len() + encoded_len_varint(bytes as u64) + bytes;
        encode_key(INITIALIZER, WireType::LengthDelimited, &mut self.buffer);
        encode_varint((head.encoded_len() + data) as u64, &mut self.buffer);
        self.buffer.extend(head.encode_to_vec());
        self.buffer.extend(raw_key);
        encode_varint(bytes as u64, &mut self.buffer);
        self.buffer.reserve(bytes);
        Ok(())
    }

    fn field(&mut self, number: u32, message: &impl Message) {
        encode_key(number, WireType::LengthDelimited, &mut self.buffer);
        encode_varint(message.encoded_len() as u64, &mut self.buffer);
        self.buffer.extend(message.encode_to_vec());
    }
}

fn check_size(bytes: usize) -> Result<()> {
    if bytes > MODEL_BYTES_MAX {
        return Err(ModelError::Unsupported(
            "the model's graph would be larger than 2 GiB, more than an ONNX file can hold; precision q8 keeps the \
             weights outside of it"
                .into(),
        ));
    }
    Ok(())
}

fn value_info(name: &str, element: i32, dims: &[Dim<'_>]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|dim| match dim {
            Dim::Known(size) => Dimension { dim_value: Some(*size as i64), ..Dimension::default() },
            Dim::Named(name) => {
                Dimension { dim_param: Some(name.to_string()), ..Dimension::default() }
            }
        })
        .collect();
    let tensor = TensorType { elem_type: Some(element), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: Some(name.to_string()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

/// An attribute that is a whole number.
pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, attribute_type::INT) }
}

/// An attribute that is a list of whole numbers.
pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, attribute_type::INTS) }
}

/// An attribute that is a float.
pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, attribute_type::FLOAT) }
}

/// An attribute that is a text.
pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    let value = Bytes::copy_from_slice(value.as_bytes());
    AttributeProto { s: Some(value), ..attribute(name, attribute_type::STRING) }
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.to_string()), r#type: Some(kind), ..AttributeProto::default() }
}
