//! Honest and broken safetensors files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;

use super::*;

/// Tensors to write: name, type, shape, bytes.
type Tensors<'a> = &'a [(&'a str, Dtype, Vec<usize>, Vec<u8>)];

fn bytes<const N: usize, T>(values: &[T], to: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(to).collect()
}

fn f32s(values: &[f32]) -> Vec<u8> {
    bytes(values, |value| value.to_le_bytes())
}

fn write(path: &Path, tensors: Tensors<'_>) {
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name.to_string(), TensorView::new(*dtype, shape.clone(), data).expect("a tensor"))
    });
    safetensors::serialize_to_file(views.collect::<HashMap<_, _>>(), None, path).expect("written");
}

fn written(tensors: Tensors<'_>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    write(&path, tensors);
    (folder, path)
}

/// A file with this header, and `data` after it.
fn raw(folder: &Path, header: &str, data: &[u8]) -> PathBuf {
    let path = folder.join("model.safetensors");
    let mut content = (header.len() as u64).to_le_bytes().to_vec();
    content.extend(header.as_bytes());
    content.extend(data);
    std::fs::write(&path, content).expect("written");
    path
}

/// The message, after a check that it is one line about a bad file.
fn refused<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.expect_err("refused");
    assert!(matches!(error, ModelError::BadModelFile { .. }), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n') && message.contains("model.safetensors"), "{message}");
    message
}

#[test]
fn every_float_type_is_read_as_32_bits() {
    let values = [0.5f32, -2.0, 3.25, 0.0, 1024.0, -0.125];
    let tensors = [
        ("f32", Dtype::F32, vec![2, 3], f32s(&values)),
        ("f64", Dtype::F64, vec![2, 3], bytes(&values, |v| f64::from(*v).to_le_bytes())),
        ("f16", Dtype::F16, vec![2, 3], bytes(&values, |v| half::f16::from_f32(*v).to_le_bytes())),
        (
            "bf16",
            Dtype::BF16,
            vec![2, 3],
            bytes(&values, |v| half::bf16::from_f32(*v).to_le_bytes()),
        ),
    ];
    let (folder, path) = written(&tensors);
    let weights = Weights::open(folder.path()).expect("the folder");
    assert_eq!((weights.path(), weights.parameters()), (&*path, 24));
    assert_eq!(weights.names(), ["bf16", "f16", "f32", "f64"]);
    for name in weights.names() {
        assert_eq!(weights.floats(name, &[2, 3]).expect(name), values, "{name}");
        assert_eq!(weights.matrix(name, 2, 3).expect(name), Matrix::F32(values.to_vec()));
        assert!(weights.check_floats(name, &[2, 3]).is_ok());
    }
}

#[test]
fn large_tensors_are_read_in_pieces() {
    let values: Vec<f32> = (0..700_000).map(|n| n as f32).collect();
    let (_folder, path) = written(&[("w", Dtype::F32, vec![700, 1000], f32s(&values))]);
    assert_eq!(Weights::open(&path).expect("open").floats("w", &[700, 1000]).expect("w"), values);
}

#[test]
fn eight_bits_come_with_their_scales() {
    let values: Vec<u8> = vec![1, 2, 0xff, 0x80, 4, 5, 6, 7];
    let tensors = [
        ("w", Dtype::I8, vec![2, 4], values.clone()),
        ("w.scales", Dtype::F32, vec![2, 2], f32s(&[1.0, 0.5, 2.0, 10.0])),
        ("bare", Dtype::I8, vec![2, 4], values.clone()),
        ("odd", Dtype::I8, vec![2, 4], values),
        ("odd.scales", Dtype::F32, vec![2, 3], f32s(&[1.0; 6])),
        ("u8", Dtype::U8, vec![1], vec![0]),
    ];
    let (_folder, path) = written(&tensors);
    let weights = Weights::open(&path).expect("open");
    let matrix = weights.matrix("w", 2, 4).expect("w");
    assert!(matches!(matrix, Matrix::Q8 { block: 2, .. }), "{matrix:?}");
    assert_eq!(matrix.into_f32(), [1.0, 2.0, -0.5, -64.0, 8.0, 10.0, 60.0, 70.0]);
    assert!(weights.is_quantised("w") && !weights.is_quantised("bare"));
    assert!(refused(weights.matrix("bare", 2, 4)).contains("'bare.scales'"));
    assert!(refused(weights.matrix("odd", 2, 4)).contains("divides 4"));
    assert!(refused(weights.floats("w", &[2, 4])).contains("got I8"));
    assert!(refused(weights.matrix("u8", 1, 1)).contains("'u8'"));
}

#[test]
fn a_wrong_shape_and_a_missing_tensor_are_named() {
    let (_folder, path) = written(&[("w", Dtype::F32, vec![2, 3], f32s(&[0.0; 6]))]);
    let weights = Weights::open(&path).expect("open");
    let message = refused(weights.floats("w", &[3, 2]));
    assert!(
        message.contains("'w' must have shape [3, 2]") && message.contains("got [2, 3]"),
        "{message}"
    );
    assert!(refused(weights.floats("v", &[1])).contains("no tensor 'v'"));
    assert!(refused(weights.matrix("w", 6, 1)).contains("[6, 1]"));
}

#[test]
fn layers_are_joined_by_their_outputs() {
    let part = |name: &str, weight, bias| Linear {
        name: name.to_string(),
        outputs: 1,
        inputs: 2,
        weight,
        bias,
    };
    let q8 = |block| Matrix::Q8 { values: vec![2, 4], scales: vec![0.5; 2 / block], block };
    let joined = Linear::concat(vec![
        part("a", Matrix::F32(vec![1.0, 2.0]), Some(vec![7.0])),
        part("b", q8(2), None),
    ])
    .expect("one width");
    assert_eq!((joined.name.as_str(), joined.outputs), ("a+b", 2));
    assert_eq!(joined.weight, Matrix::F32(vec![1.0, 2.0, 1.0, 2.0]));
    assert_eq!(joined.bias, Some(vec![7.0, 0.0]));
    let same = Linear::concat(vec![part("a", q8(1), None), part("b", q8(1), None)]).expect("same");
    let want = Matrix::Q8 { values: vec![2, 4, 2, 4], scales: vec![0.5; 4], block: 1 };
    assert_eq!((same.weight, same.bias), (want, None));
    let mixed =
        Linear::concat(vec![part("a", q8(1), None), part("b", q8(2), None)]).expect("mixed");
    assert_eq!(mixed.weight, Matrix::F32(vec![1.0, 2.0, 1.0, 2.0]));
}

#[test]
fn prefixes_are_found() {
    let tensor = |name| (name, Dtype::F32, vec![1], f32s(&[0.0]));
    let names = ["0.auto_model.embeddings.w", "bert.embeddings.w", "xembeddings.w"];
    let (_folder, path) = written(&names.map(tensor));
    let weights = Weights::open(&path).expect("open");
    assert_eq!(weights.prefix_of("embeddings.w").as_deref(), Some("bert."));
    assert_eq!(weights.prefix_of("other.w"), None);
}

#[test]
fn every_truncation_and_every_flipped_header_byte_is_survived() {
    let values = [1.0f32; 12];
    let tensors =
        [("a", Dtype::F32, vec![3, 2], f32s(&values[..6])), ("b", Dtype::F16, vec![3], vec![0; 6])];
    let (_folder, path) = written(&tensors);
    let whole = std::fs::read(&path).expect("read");
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).expect("written");
        refused(Weights::open(&path));
    }
    std::fs::write(&path, [&whole[..], b"x"].concat()).expect("written");
    assert!(refused(Weights::open(&path)).contains("header describes"));
    let header = whole.len() - 30;
    for place in 0..header {
        for flip in [1 << (place % 8), 0xff] {
            let mut flipped = whole.clone();
            flipped[place] ^= flip;
            std::fs::write(&path, &flipped).expect("written");
            // Most are rejected; a flipped letter of a name is another name.
            let Ok(weights) = Weights::open(&path) else { continue };
            for name in weights.names() {
                let shape = weights.shape(name).expect("a listed tensor");
                if let Ok(values) = weights.floats(name, shape) {
                    assert!(values.len() <= 15, "{name} has more values than the file");
                }
            }
        }
    }
}

#[test]
fn impossible_headers_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (header, data, why) in [
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, "place or size"),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "place or size"),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4, "place or size"),
        (
            r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#,
            0,
            "place or size",
        ),
        (
            r#"{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#,
            0,
            "place or size",
        ),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "holes"),
        (
            concat!(
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#,
                r#""b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#
            ),
            6,
            "overlap",
        ),
        (
            concat!(
                r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"#,
                r#""a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#
            ),
            2,
            "holes",
        ),
        (r#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#, 4, "'a'"),
        (r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "'a'"),
        ("[]", 0, "header"),
        ("", 0, "header"),
    ] {
        let path = raw(folder.path(), header, &vec![0; data]);
        let message = refused(Weights::open(&path));
        assert!(message.contains(why), "{header}: {message}");
    }
    let deep = "[".repeat(100_000);
    refused(Weights::open(&raw(folder.path(), &deep, b"")));
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, [0xff; 64]).expect("written");
    refused(Weights::open(&path));
}

#[test]
fn a_file_that_shrinks_while_it_is_open_is_an_error() {
    let (_folder, path) = written(&[("w", Dtype::F32, vec![4], f32s(&[0.0; 4]))]);
    let weights = Weights::open(&path).expect("open");
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("open");
    file.set_len(20).expect("cut");
    assert!(matches!(weights.floats("w", &[4]), Err(ModelError::Io { .. })));
}

#[test]
fn shards_are_one_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write(&here.join("one.safetensors"), &[("a", Dtype::F32, vec![1], f32s(&[1.0]))]);
    write(&here.join("two.safetensors"), &[("b", Dtype::F32, vec![1], f32s(&[2.0]))]);
    let index = here.join("model.safetensors.index.json");
    let put = |text: &str| std::fs::write(&index, text).expect("written");
    put(r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#);
    let weights = Weights::open(here).expect("open");
    assert_eq!(weights.floats("a", &[1]).expect("a"), [1.0]);
    assert_eq!(weights.floats("b", &[1]).expect("b"), [2.0]);
    for (map, why) in [
        (r#"{"a":"../one.safetensors"}"#, "beside its index"),
        (r#"{"a":"/etc/passwd"}"#, "beside its index"),
        (r#"{"a":"sub/one.safetensors"}"#, "beside its index"),
        (r#"{"a":".."}"#, "beside its index"),
        (r#"{"a":1}"#, "weight_map"),
        ("[]", "weight_map"),
    ] {
        put(&format!(r#"{{"weight_map":{map}}}"#));
        let message = refused(Weights::open(here));
        assert!(message.contains(why), "{message}");
    }
    put("{");
    refused(Weights::open(here));
    put(r#"{"weight_map":{"a":"one.safetensors","b":"none.safetensors"}}"#);
    assert!(matches!(Weights::open(here), Err(ModelError::Io { .. })));
    write(&here.join("two.safetensors"), &[("a", Dtype::F32, vec![1], f32s(&[2.0]))]);
    put(r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#);
    let error = Weights::open(here).expect_err("twice").to_string();
    assert!(error.contains("'a' is in another shard"), "{error}");
}

#[test]
fn a_folder_without_weights_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Weights::open(folder.path()).expect_err("nothing there").to_string();
    assert!(error.contains("has no model.safetensors"), "{error}");
}

#[test]
fn a_pointer_in_the_place_of_weights_says_how_to_get_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:9f86d0\nsize 90868376\n";
    std::fs::write(&path, pointer).expect("written");
    assert!(refused(TensorFile::open(&path)).contains("git lfs pull"));
}
