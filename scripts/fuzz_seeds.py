#!/usr/bin/env python3
"""Writes good inputs for a fuzz target: the fuzzer begins with them and changes them.

    fuzz_seeds.py TARGET FOLDER

They are files of the repository (fixtures of models and images, statements of tests and examples) and a few lines here.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "models/tests/fixtures"
# As in fuzz/targets/model_config.rs: the first byte says which file it is.
CONFIG_FILES = ["config.json", "modules.json", "tokenizer.json", "tokenizer_config.json"]
CSV = [
    b'a,b\n1,x\n2,"y, z"\n',
    b'id;text;at\n1;hello;2024-01-02\n2;"w""q";2024-02-03 04:05:06\n',
    b"\xef\xbb\xbfa\tb\r\n1\t2\r\n",
    b'text\n"line\nbreak"\n',
]
JSON = [
    b'{"a":1,"b":"x"}\n{"a":2.5,"b":null}\n',
    b'[{"a":[1,2],"b":{"c":"d"}},{"a":[],"e":true}]',
    b'{"ts":"2024-01-02T03:04:05Z","v":[0.1,0.2]}\n',
]
RECORDS = {
    "json": b'\0{"id":1,"text":"a","ts":"2024-01-02T03:04:05Z"}\xfe{"id":null,"text":null}',
    "json-framed": b'\3\0\0\0\0\1{"id":1}',
    "avro": b"\1\2\4\2\6abc\2\xd0\xf1\x87",
    "avro-framed": b"\4\0\0\0\0\1\2\4\2\6abc\0",
    "protobuf": b"\2\x08\1\x12\3abc",
    "arrow": b"\5\xff\xff\xff\xff\x10\0\0\0",
}
# What a seed of statements must not do when it is explained: nothing here reads or writes.
OUTSIDE = re.compile(r"(?i)\b(copy|insert|file|http|s3:|kafka|read_)")


def statements():
    """The statements of tests and examples, without what sqllogictest writes around them."""
    for path in sorted([*ROOT.glob("tests/**/*.slt"), *ROOT.glob("sql/**/*.slt"), *ROOT.glob("examples/**/*.sql")]):
        for block in re.split(r"\n\n+", path.read_text(errors="ignore")):
            lines = block.split("----")[0].splitlines()
            text = "\n".join(line for line in lines if not re.match(r"#|statement|query|halt|control", line)).strip()
            if text and not OUTSIDE.search(text):
                yield text.encode()


def field(number, value):
    """A field of a Protobuf message: a number below 128, or bytes below 16 KiB."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    size = len(value)
    return bytes([number << 3 | 2]) + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + value


def onnx_model(width, words):
    """An ONNX model that looks words up in a table: what ONNX's own library would write."""

    def value(name, kind, *sizes):
        shape = b"".join(field(1, field(1, size) if isinstance(size, int) else field(2, size)) for size in sizes)
        return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))

    table = field(1, words) + field(1, width) + field(2, 1) + field(8, b"table") + field(9, bytes(4 * width * words))
    gather = b"".join(field(1, name) for name in (b"table", b"input_ids")) + field(2, b"rows") + field(4, b"Gather")
    bend = field(1, b"rows") + field(2, b"last_hidden_state") + field(4, b"Tanh")
    graph = field(1, gather) + field(1, bend) + field(2, b"g") + field(5, table)
    graph += b"".join(field(11, value(name, 7, b"b", b"s")) for name in (b"input_ids", b"attention_mask"))
    graph += field(12, value(b"last_hidden_state", 1, b"b", b"s", width))
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))


def seeds(target):
    """Names and contents."""
    if target == "model_config":
        for path in sorted(FIXTURES.glob("*/*.json")):
            if path.name in CONFIG_FILES:
                yield f"{path.parent.name}-{path.name}", bytes([CONFIG_FILES.index(path.name)]) + path.read_bytes()
    elif target == "model_weights":
        for path in sorted(FIXTURES.glob("*/model.safetensors")):
            yield path.parent.name, path.read_bytes()
    elif target == "model_onnx":
        config = json.loads((FIXTURES / "bert/config.json").read_text())
        yield "table", onnx_model(config["hidden_size"], min(config["vocab_size"], 100))
    elif target == "images":
        for path in sorted([*FIXTURES.glob("images/**/*"), *(ROOT / "examples/data/shapes").glob("**/*")]):
            if path.is_file():
                yield path.name, path.read_bytes()
    elif target == "text_rows":
        for first, contents in ((0, CSV), (1, JSON)):
            for number, content in enumerate(contents):
                yield f"{first}-{number}", bytes([first]) + content
    elif target == "formats":
        yield from RECORDS.items()
    elif target == "sql_text":
        for number, text in enumerate(statements()):
            yield str(number), text


def main():
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    for name, content in seeds(target):
        if len(content) <= 1 << 16:
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
