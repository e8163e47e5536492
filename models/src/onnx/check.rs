//! Checks a foreign `.onnx` file before ONNX Runtime sees it, and makes it complete in itself.
//!
//! ONNX lets any tensor keep its data in another file. Such references are found wherever the
//! format allows a tensor (see [`super::walk`]), rejected when they could leave the model's folder
//! (see [`super::external`]), and the allowed ones are read into the model, so that ONNX Runtime
//! opens no file. Whether the operators make sense is left to it.

use std::collections::HashSet;
use std::path::Path;

use prost::Message;
use prost::bytes::Bytes;

use super::external::Folder;
use super::proto::{GraphProto, ModelProto, TypeProto, ValueInfoProto, data_type};
use super::walk;
use super::writer::MODEL_BYTES_MAX;
use crate::error::one_line;
use crate::{ModelError, Result};

/// What a graph is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// Token ids and what goes with them.
    Texts,
    /// Pictures.
    Images,
}

impl Given {
    /// The names of inputs that it can fill.
    fn inputs(self) -> &'static [&'static str] {
        match self {
            Self::Texts => &["input_ids", "attention_mask", "token_type_ids", "position_ids"],
            Self::Images => &["pixel_values"],
        }
    }

    /// The type of all inputs.
    fn element(self) -> i32 {
        match self {
            Self::Texts => data_type::INT64,
            Self::Images => data_type::FLOAT,
        }
    }
}

/// A checked model, complete in itself.
#[derive(Clone, Debug)]
pub(crate) struct CheckedModel {
    /// The model as one protobuf without references to other files.
    pub(crate) bytes: Vec<u8>,
    /// Names of the inputs that a caller gives, in order; inputs that the model itself fills are
    /// left out.
    #[cfg_attr(not(test), expect(dead_code, reason = "the session tells its inputs as well"))]
    pub(crate) inputs: Vec<String>,
    /// Names of the outputs, in order, and their last dimension where it is fixed.
    #[cfg_attr(not(test), expect(dead_code, reason = "the session tells its outputs as well"))]
    pub(crate) outputs: Vec<(String, Option<usize>)>,
    /// The operator sets that the model uses; `""` is ONNX's own.
    #[cfg_attr(not(test), expect(dead_code, reason = "ONNX Runtime checks them"))]
    pub(crate) opsets: Vec<(String, i64)>,
}

/// Reads and checks a model.
///
/// # Errors
/// [`ModelError::BadModelFile`] with one line that names the reference or the input that is
/// rejected, or says why the file is not a model.
pub(crate) fn check(path: &Path, given: Given) -> Result<CheckedModel> {
    let size = std::fs::metadata(path).map_err(|error| ModelError::io(path, error))?.len();
    if size > MODEL_BYTES_MAX as u64 {
        return Err(ModelError::file(
            path,
            format!(
                "has {size} bytes, but an ONNX file may have at most 2 GiB; larger models keep their weights beside it"
            ),
        ));
    }
    let bytes = Bytes::from(std::fs::read(path).map_err(|error| ModelError::io(path, error))?);
    crate::lfs::refuse_pointer(path, &bytes)?;
    let bad = |problem: String| ModelError::file(path, problem);
    let mut model = ModelProto::decode(bytes.clone()).map_err(|error| {
        bad(format!("is truncated or not an ONNX model ({})", one_line(&error.to_string())))
    })?;
    let mut folder = Folder::new(path.parent().unwrap_or(Path::new("")), bytes.len());
    walk::every_tensor(&mut model, &mut |what, tensor| folder.inline(what, tensor)).map_err(bad)?;
    let Some(graph) = &model.graph else {
        return Err(ModelError::file(path, "is truncated or not an ONNX model (it has no graph)"));
    };
    let inputs = inputs(graph, given).map_err(bad)?;
    let outputs = graph.output.iter().map(|value| (name(value), last_dimension(value))).collect();
    let opsets = model
        .opset_import
        .iter()
        .map(|opset| (opset.domain().to_string(), opset.version()))
        .collect();
    let bytes = if folder.changed() {
        drop(bytes);
        let size = model.encoded_len();
        if size > MODEL_BYTES_MAX {
            return Err(bad(format!(
                "has {size} bytes with its external data; 2 GiB are supported"
            )));
        }
        model.encode_to_vec()
    } else {
        drop(model);
        Vec::from(bytes)
    };
    Ok(CheckedModel { bytes, inputs, outputs, opsets })
}

/// The inputs that no initializer fills. What is given must be able to fill them.
fn inputs(graph: &GraphProto, given: Given) -> Result<Vec<String>, String> {
    let dense = graph.initializer.iter().map(|tensor| tensor.name());
    let sparse = graph.sparse_initializer.iter().flat_map(|tensor| &tensor.values);
    let filled: HashSet<&str> = dense.chain(sparse.map(|tensor| tensor.name())).collect();
    let mut names = Vec::new();
    for value in graph.input.iter().filter(|value| !filled.contains(value.name())) {
        let name = value.name();
        if !given.inputs().contains(&name) {
            let (what, model) = match given {
                Given::Texts => ("text", "a text model"),
                Given::Images => ("an image", "an image tower"),
            };
            return Err(format!(
                "has an input '{name}' that {what} can't fill; {model} takes {}",
                given.inputs().join(", ")
            ));
        }
        let element = tensor_type(value).and_then(|tensor| tensor.elem_type);
        if element != Some(given.element()) {
            let wanted = match given {
                Given::Texts => "64-bit whole numbers; export it with such ids",
                Given::Images => "32-bit floats; export it in f32",
            };
            return Err(format!("has an input '{name}' that is not a tensor of {wanted}"));
        }
        names.push(name.to_string());
    }
    Ok(names)
}

fn name(value: &ValueInfoProto) -> String {
    value.name().to_string()
}

fn tensor_type(value: &ValueInfoProto) -> Option<&super::proto::TensorType> {
    value.r#type.as_ref().and_then(|kind: &TypeProto| kind.tensor_type.as_ref())
}

fn last_dimension(value: &ValueInfoProto) -> Option<usize> {
    let shape = tensor_type(value)?.shape.as_ref()?;
    usize::try_from(shape.dim.last()?.dim_value?).ok().filter(|size| *size > 0)
}
