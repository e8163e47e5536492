//! Hostile and honest ONNX files, and what is written read back.

use std::path::{Path, PathBuf};

use prost::Message;
use prost::bytes::Bytes;

use super::check::{CheckedModel, Given, check};
use super::proto::*;
use super::writer::{Dim, ModelWriter, int};
use crate::{ModelError, Result};

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) }
}

/// Four floats that lie in `location`.
fn outside(location: &str) -> TensorProto {
    TensorProto {
        name: Some("w".into()),
        dims: vec![4],
        data_type: Some(data_type::FLOAT),
        data_location: Some(LOCATION_EXTERNAL),
        external_data: vec![entry("location", location)],
        ..TensorProto::default()
    }
}

fn value(name: &str, element: i32) -> ValueInfoProto {
    let dim = vec![
        Dimension { dim_param: Some("batch".into()), ..Dimension::default() },
        Dimension { dim_value: Some(4), ..Dimension::default() },
    ];
    let tensor = TensorType { elem_type: Some(element), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

/// `y = input_ids + w` with the initializer `w`; it is never run, so that types needn't fit.
fn adding(w: TensorProto) -> ModelProto {
    let node = NodeProto {
        input: vec!["input_ids".into(), "w".into()],
        output: vec!["y".into()],
        op_type: Some("Add".into()),
        ..NodeProto::default()
    };
    let graph = GraphProto {
        name: Some("g".into()),
        node: vec![node],
        input: vec![value("input_ids", data_type::INT64), value("w", data_type::FLOAT)],
        output: vec![value("y", data_type::FLOAT)],
        initializer: vec![w],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn constant(attribute: AttributeProto) -> NodeProto {
    NodeProto {
        output: vec!["c".into()],
        op_type: Some("Constant".into()),
        attribute: vec![attribute],
        ..NodeProto::default()
    }
}

fn tensor_attribute(tensor: TensorProto) -> AttributeProto {
    AttributeProto {
        name: Some("value".into()),
        t: Some(Box::new(tensor)),
        r#type: Some(4),
        ..AttributeProto::default()
    }
}

fn save(folder: &Path, model: &ModelProto) -> PathBuf {
    let path = folder.join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).expect("a model file");
    path
}

fn checked(folder: &Path, model: &ModelProto) -> Result<CheckedModel> {
    check(&save(folder, model), Given::Texts)
}

/// A folder with `weights.bin`, 32 bytes: the floats 0 to 7.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let data: Vec<u8> = (0..8).flat_map(|n| (n as f32).to_le_bytes()).collect();
    std::fs::write(folder.path().join("weights.bin"), data).expect("weights");
    folder
}

/// Checks that a model is rejected in one line that names `named` and says `why`.
fn assert_refused(folder: &Path, model: &ModelProto, named: &str, why: &str) {
    let error = checked(folder, model).expect_err(why);
    assert!(matches!(error, ModelError::BadModelFile { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(named) && message.contains(why), "{message}");
    assert!(!message.contains('\n') && message.contains("model.onnx"), "{message}");
}

#[test]
fn data_beside_the_model_is_read_into_it() {
    let folder = folder();
    let mut w = outside("weights.bin");
    w.external_data.push(entry("offset", "8"));
    w.external_data.push(entry("length", "16"));
    let model = checked(folder.path(), &adding(w)).expect("allowed");
    assert_eq!(model.inputs, ["input_ids"], "w is filled by the model");
    assert_eq!(model.outputs, [("y".to_string(), Some(4))]);
    assert_eq!(model.opsets, [(String::new(), 17)]);
    let decoded = ModelProto::decode(&*model.bytes).expect("a model");
    let w = &decoded.graph.expect("a graph").initializer[0];
    assert_eq!((w.data_location, w.external_data.len()), (None, 0));
    let want: Vec<u8> = [2f32, 3.0, 4.0, 5.0].iter().flat_map(|n| n.to_le_bytes()).collect();
    assert_eq!(w.raw_data.as_deref(), Some(&want[..]));
}

#[test]
fn a_model_without_references_keeps_its_bytes() {
    let folder = folder();
    let mut w = outside("");
    (w.external_data, w.data_location) = (Vec::new(), None);
    w.raw_data = Some(Bytes::from_static(&[0; 16]));
    let model = adding(w);
    // A field that the schema doesn't have must survive.
    let mut bytes = model.encode_to_vec();
    bytes.extend([0xf2, 0x3f, 1, b'!']);
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, &bytes).expect("a file");
    assert_eq!(check(&path, Given::Texts).expect("allowed").bytes, bytes);
}

#[test]
fn places_outside_the_folder_are_refused() {
    let folder = folder();
    let here = folder.path();
    std::fs::create_dir(here.join("sub")).expect("a folder");
    let outer = tempfile::tempdir().expect("another folder");
    std::fs::write(outer.path().join("secret"), [0; 64]).expect("a secret");
    let absolute = here.join("weights.bin").display().to_string();
    let mut places = vec![
        (absolute.as_str(), "absolute path"),
        ("/etc/passwd", "absolute path"),
        ("../secret", "'..'"),
        ("sub/../weights.bin", "'..'"),
        ("sub/../../secret", "'..'"),
        ("sub\\weights.bin", "character"),
        ("C:weights.bin", "character"),
        ("*/_ORT_MEM_ADDR_/*", "can't be read"),
        ("missing.bin", "can't be read"),
        ("sub", "not a regular file"),
        ("", "names no file"),
    ];
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(outer.path().join("secret"), here.join("link.bin")).expect("a link");
        symlink(outer.path(), here.join("linked")).expect("a link");
        symlink("weights.bin", here.join("inner.bin")).expect("a link");
        places.extend([
            ("link.bin", "symbolic link"),
            ("linked/secret", "symbolic link"),
            ("inner.bin", "symbolic link"),
        ]);
    }
    for (place, why) in places {
        assert_refused(here, &adding(outside(place)), &format!("data '{place}'"), why);
    }
    assert!(checked(here, &adding(outside("./weights.bin"))).is_ok());
}

#[test]
fn places_beyond_the_file_are_refused() {
    let folder = folder();
    for (more, why) in [
        (&[("offset", "20")][..], "only 32 bytes"),
        (&[("offset", "18446744073709551615")], "only 32 bytes"),
        (&[("offset", "-4")], "not a number"),
        (&[("length", "12")], "has 12 bytes where the tensor's shape needs 16"),
        (&[("length", "99999999999")], "needs 16"),
    ] {
        let mut w = outside("weights.bin");
        w.external_data.extend(more.iter().map(|(key, value)| entry(key, value)));
        assert_refused(folder.path(), &adding(w), "initializer 'w'", why);
    }
    for (dims, element, why) in [
        (vec![9], data_type::FLOAT, "only 32 bytes"),
        (vec![1 << 40, 1 << 40], data_type::FLOAT, "no size"),
        (vec![-4], data_type::FLOAT, "no size"),
        (vec![1 << 33], data_type::FLOAT, "2 GiB"),
        (vec![4], 8, "no size"),
        (vec![4], 99, "no size"),
    ] {
        let w = TensorProto { dims, data_type: Some(element), ..outside("weights.bin") };
        assert_refused(folder.path(), &adding(w), "initializer 'w'", why);
    }
    let both = TensorProto { raw_data: Some(Bytes::new()), ..outside("weights.bin") };
    assert_refused(folder.path(), &adding(both), "'w'", "contradicts");
    let unmarked = TensorProto { data_location: None, ..outside("weights.bin") };
    assert_refused(folder.path(), &adding(unmarked), "'w'", "contradicts");
}

/// Puts a reference into one of the places where a tensor can be.
type Hide = fn(&mut ModelProto, TensorProto);

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.get_or_insert_default()
}

fn inside(tensor: TensorProto) -> GraphProto {
    GraphProto { node: vec![constant(tensor_attribute(tensor))], ..GraphProto::default() }
}

fn sparse(values: bool, tensor: TensorProto) -> SparseTensorProto {
    let other = Some(TensorProto { name: Some("w".into()), ..TensorProto::default() });
    let (values, indices) = if values { (Some(tensor), other) } else { (other, Some(tensor)) };
    SparseTensorProto { values, indices, dims: vec![4] }
}

/// Every place, and how a message names it.
const HIDING_PLACES: &[(&str, Hide)] = &[
    ("sparse initializer 'w' (values)", |m, t| {
        graph(m).sparse_initializer.push(sparse(true, t));
    }),
    ("sparse initializer 'w' (indices)", |m, t| {
        graph(m).sparse_initializer.push(sparse(false, t));
    }),
    ("attribute 'value' of the Constant node of 'c'", |m, t| {
        graph(m).node.push(constant(tensor_attribute(t)));
    }),
    ("attribute 'list'", |m, t| {
        let list =
            AttributeProto { name: Some("list".into()), tensors: vec![t], ..Default::default() };
        graph(m).node.push(constant(list));
    }),
    ("attribute 'one'", |m, t| {
        let one = Some(Box::new(sparse(true, t)));
        let one =
            AttributeProto { name: Some("one".into()), sparse_tensor: one, ..Default::default() };
        graph(m).node.push(constant(one));
    }),
    ("attribute 'many'", |m, t| {
        let many = vec![sparse(false, t)];
        let many = AttributeProto {
            name: Some("many".into()),
            sparse_tensors: many,
            ..Default::default()
        };
        graph(m).node.push(constant(many));
    }),
    ("attribute 'value'", |m, t| {
        let branch = Some(Box::new(inside(t)));
        graph(m).node.push(constant(AttributeProto { g: branch, ..Default::default() }));
    }),
    ("initializer 'w'", |m, t| {
        let branch = GraphProto { initializer: vec![t], ..Default::default() };
        let branch = AttributeProto { graphs: vec![branch], ..Default::default() };
        graph(m).node.push(constant(branch));
    }),
    ("attribute 'value'", |m, t| {
        let node = vec![constant(tensor_attribute(t))];
        m.functions.push(FunctionProto { node, ..Default::default() });
    }),
    ("function 'f'", |m, t| {
        let attribute_proto = vec![tensor_attribute(t)];
        let name = Some("f".to_string());
        m.functions.push(FunctionProto { name, attribute_proto, ..Default::default() });
    }),
    ("attribute 'value'", |m, t| {
        let algorithm = Some(inside(t));
        m.training_info.push(TrainingInfoProto { algorithm, ..Default::default() });
    }),
    ("initializer 'w'", |m, t| {
        let initialization = Some(GraphProto { initializer: vec![t], ..Default::default() });
        m.training_info.push(TrainingInfoProto { initialization, ..Default::default() });
    }),
];

#[test]
fn every_hiding_place_is_found() {
    let folder = folder();
    let plain = TensorProto {
        data_location: None,
        external_data: Vec::new(),
        raw_data: Some(Bytes::from_static(&[0; 16])),
        ..outside("")
    };
    for (named, hide) in HIDING_PLACES {
        let mut model = adding(plain.clone());
        hide(&mut model, outside("../secret"));
        assert_refused(folder.path(), &model, named, "'..'");
        // The same place with an allowed reference: it is read.
        let mut model = adding(plain.clone());
        hide(&mut model, outside("weights.bin"));
        let bytes = checked(folder.path(), &model).expect(named).bytes;
        assert!(!bytes.windows(11).any(|window| window == b"weights.bin"), "{named}");
    }
}

#[test]
fn graphs_nest_only_so_deep() {
    let folder = folder();
    let mut inner = GraphProto::default();
    for _ in 0..20 {
        let branch = AttributeProto { g: Some(Box::new(inner)), ..Default::default() };
        inner = GraphProto { node: vec![constant(branch)], ..Default::default() };
    }
    let model = ModelProto { graph: Some(inner), ..Default::default() };
    assert_refused(folder.path(), &model, "nests graphs", "more than 16 deep");
}

#[test]
fn deeper_nesting_than_the_stack_is_an_error() {
    let folder = folder();
    // A graph in an attribute in a node in a graph, and so on, written from the inside.
    let mut bytes: Vec<u8> = Vec::new();
    for level in 0..30_000 {
        let tag = [0x32, 0x2a, 0x0a][level % 3];
        let mut outer = vec![tag];
        prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
        outer.append(&mut bytes);
        bytes = outer;
    }
    let mut model = vec![0x3a];
    prost::encoding::encode_varint(bytes.len() as u64, &mut model);
    model.extend(bytes);
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model).expect("a file");
    assert!(check(&path, Given::Texts).is_err());
}

#[test]
fn own_operators_are_not_for_foreign_graphs() {
    let folder = folder();
    let mut model = adding(outside("weights.bin"));
    let node = NodeProto {
        domain: Some("ai.sembla".into()),
        name: Some("n".into()),
        ..NodeProto::default()
    };
    model.functions.push(FunctionProto { node: vec![node], ..Default::default() });
    assert_refused(folder.path(), &model, "node 'n'", "ai.sembla");
}

#[test]
fn inputs_that_text_cannot_fill_are_refused() {
    let folder = folder();
    for (input, named, why) in [
        (value("pixel_values", data_type::FLOAT), "'pixel_values'", "can't fill"),
        (value("attention_mask", data_type::FLOAT), "'attention_mask'", "64-bit"),
        (value("input_ids", 6), "'input_ids'", "64-bit"),
        (ValueInfoProto { r#type: None, ..value("input_ids", 7) }, "'input_ids'", "64-bit"),
    ] {
        let mut model = adding(outside("weights.bin"));
        model.graph.get_or_insert_default().input.push(input);
        assert_refused(folder.path(), &model, named, why);
    }
}

#[test]
fn torn_files_are_errors_and_never_panics() {
    let folder = folder();
    let whole = adding(outside("weights.bin")).encode_to_vec();
    let path = folder.path().join("model.onnx");
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).expect("a file");
        if let Ok(model) = check(&path, Given::Texts) {
            assert!(ModelProto::decode(&*model.bytes).is_ok());
        }
        let mut flipped = whole.clone();
        flipped[length] ^= 0x55;
        std::fs::write(&path, &flipped).expect("a file");
        let _no_panic = check(&path, Given::Texts);
    }
    std::fs::write(&path, b"").expect("a file");
    assert!(
        check(&path, Given::Texts).expect_err("empty").to_string().contains("not an ONNX model")
    );
    assert!(matches!(check(&folder.path().join("none"), Given::Texts), Err(ModelError::Io { .. })));
}

#[test]
fn what_is_written_can_be_read() {
    let mut writer = ModelWriter::new("tiny", &[("", 17), ("ai.sembla", 1)]);
    let batch = [Dim::Named("batch"), Dim::Known(2)];
    writer.input("x", data_type::FLOAT, &batch);
    writer.floats("w", &[2, 2], [1.0, 2.0, 3.0, 4.0].into_iter()).expect("small");
    writer.ints("axes", &[1], &[-1]).expect("small");
    writer.node(("", "MatMul"), &["x", "w"], &["y"], Vec::new());
    writer.node(("ai.sembla", "QLinear"), &["y"], &["z"], vec![int("index", 3)]);
    writer.output("z", data_type::FLOAT, &batch);
    let model = ModelProto::decode(&*writer.finish().expect("small")).expect("a model");
    assert_eq!(model.opset_import.len(), 2);
    let graph = model.graph.expect("a graph");
    assert_eq!(graph.name(), "tiny");
    assert_eq!(graph.node[1].domain(), "ai.sembla");
    assert_eq!(graph.node[1].attribute[0].i(), 3);
    assert_eq!(graph.initializer[0].dims, [2, 2]);
    assert_eq!(graph.initializer[0].raw_data.as_ref().map(Bytes::len), Some(16));
    assert_eq!(graph.initializer[1].raw_data.as_deref(), Some(&(-1i64).to_le_bytes()[..]));
    assert_eq!(graph.input[0].name(), "x");
    assert_eq!(graph.output[0].name(), "z");
}

#[test]
fn a_constant_with_too_few_values_is_a_bug() {
    let mut writer = ModelWriter::new("tiny", &[("", 17)]);
    let error = writer.floats("w", &[3], [1.0].into_iter()).expect_err("one of three");
    assert!(matches!(error, ModelError::Bug(_)));
}

#[test]
fn two_gibibytes_are_refused_before_they_are_written() {
    let mut writer = ModelWriter::new("large", &[("", 17)]);
    let error = writer.floats("w", &[1 << 30], std::iter::empty()).expect_err("4 GiB");
    assert!(error.to_string().contains("2 GiB"), "{error}");
}
