"""JSON: lines, arrays and indented documents, types that change late, and folders of such files."""
import json
import pathlib

import polars

from .shape import Shape, texts, words_of, write


def lines(rows: "list[dict]", end: str = "\n") -> str:
    return end.join(json.dumps(row, ensure_ascii=False) for row in rows) + end


def file(path: pathlib.Path, rows: "list[dict]", content: "str | None" = None, compression: str = "", peers: str = "duckdb polars") -> Shape:
    write(path, lines(rows) if content is None else content, compression)
    is_array = content is not None and content.lstrip().startswith("[")
    read = polars.read_json if is_array else polars.read_ndjson
    return Shape(
        f"json {path.name}",
        path,
        rows,
        duckdb=f"read_json('{path}', sample_size = -1)" if "duckdb" in peers else None,
        polars=(lambda: read(path, infer_schema_length=None)) if "polars" in peers else None,
    )


def layouts(folder: pathlib.Path):
    for count in (1, 30, 4000):
        rows = texts(count, count, lines=True)
        for ending in ("jsonl", "ndjson", "json"):
            yield file(folder / f"lines-{count}.{ending}", rows)
        yield file(folder / f"crlf-{count}.jsonl", rows, lines(rows, "\r\n"))
        yield file(folder / f"array-{count}.json", rows, json.dumps(rows))
        yield file(folder / f"indented-{count}.json", rows, json.dumps(rows, indent=2, ensure_ascii=False))
    rows = texts(300, 9)
    for compression in ("gz", "bz2", "xz", "zst"):
        peers = "duckdb" if compression in ("gz", "zst") else ""
        yield file(folder / f"lines.jsonl.{compression}", rows, compression=compression, peers=peers)
        yield file(folder / f"array.json.{compression}", rows, json.dumps(rows), compression, peers)
    pair = [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}]
    odd = {
        "blank-lines.jsonl": ('\n{"id":1,"text":"a"}\n\n  \n{"id":2,"text":"b"}\n\n', pair),
        "no-last-line-end.jsonl": ('{"id":1,"text":"a"}\n{"id":2,"text":"b"}', pair),
        "field-order.jsonl": ('{"id":1,"text":"a"}\n{"text":"b","id":2}\n', pair),
        "bom.jsonl": ("\ufeff" + lines(pair), pair),
        "bom.json": ("\ufeff" + json.dumps(pair), pair),
        "object.json": ('{\n "id": 1,\n "text": "a"\n}\n', pair[:1]),
        "objects.json": ('{\n "id": 1\n}\n{\n "id": 2\n}\n', [{"id": 1}, {"id": 2}]),
        "after-blanks.json": (" " * 600 + json.dumps(pair), pair),
        "empty-array.json": ("[]", []),
        "nothing.jsonl": ("", []),
    }
    for name, (content, rows) in odd.items():
        yield file(folder / name, rows, content, peers="")


def types(folder: pathlib.Path):
    early = [{"id": row, "text": "a"} for row in range(3000)]
    extra = [{**row, "extra": None} for row in early] + [{"id": 3000, "text": "b", "extra": "here"}]
    yield file(folder / "late-field.jsonl", extra, lines(early + extra[-1:]))
    last = {"id": "A3001", "text": "b"}
    yield file(folder / "late-text.jsonl", words_of(early, "id") + [last], lines(early + [last]))
    yield file(folder / "late-float.jsonl", early + [{"id": 2.5, "text": "b"}])
    mixed = {
        "text": ([1, "x"], ["1", "x"]),
        "bool": ([True, "x", 4], ["true", "x", "4"]),
        "list": (["a", ["b", "c"]], ["a", '["b","c"]']),
        "object": (["a", {"k": 1}], ["a", '{"k":1}']),
    }
    for name, (written, read) in mixed.items():
        content = lines([{"v": value, "text": "t"} for value in written])
        yield file(folder / f"mixed-{name}.jsonl", [{"v": value, "text": "t"} for value in read], content)
    columns = {
        "unsigned": [2**64 - 1, 5],
        "signed": [2**63 - 1, -(2**63)],
        "nulls": [None, "x", None],
        "nested": [{"title": "t", "tags": ["a", "b"], "deep": {"n": 1}}, {"title": "u", "tags": [], "deep": {"n": 2}}],
        "numbers": [[0.5, 1.5], [2.5, -1.0]],
        "letters": ["größe 日本 🙂 \u2028 \x01 \" \\", "\n\t/"],
        "exponents": [1e5, -2.5e-7],
        "moments": ["2024-01-01T10:00:00Z", "2024-01-02T10:00:00Z"],
    }
    for name, values in columns.items():
        yield file(folder / f"values-{name}.jsonl", [{"id": place, "v": value} for place, value in enumerate(values)])
    escaped = '{"id":1,"text":"gr\\u00f6\\u00dfe \\ud83d\\ude42 \\/ \\n"}\n'
    yield file(folder / "escapes.jsonl", [{"id": 1, "text": "größe 🙂 / \n"}], escaped)
    yield file(folder / "names.jsonl", [{"a b": 1, "größe": 2, "x.y": 3, "Text": "u", "text": "v"}], peers="polars")
    yield file(folder / "long-line.jsonl", [{"id": 1, "text": "word " * 400_000}], peers="polars")


def broken(folder: pathlib.Path):
    contents = {
        "torn": ('{"id":1,"text":"a"}\n{"id":2,"te', r"torn\.jsonl.*line 2"),
        "garbage": ('{"id":1}\n{"id":2}\ngarbage\n', r"garbage\.jsonl.*line 3"),
        "scalar": ('{"id":1}\n42\n', r"scalar\.jsonl.*line 2"),
    }
    for name, (content, error) in contents.items():
        yield Shape(f"json {name}.jsonl", write(folder / f"{name}.jsonl", content), error=error)


def folders(folder: pathlib.Path):
    one = [{"id": row, "text": f"t{row}"} for row in range(10)]
    two = [{"id": 10 + row, "text": f"u{row}", "extra": "e"} for row in range(10)]
    inputs = {
        "fields": ({"a.jsonl": lines(one), "b.jsonl": lines(two)}, [{**row, "extra": None} for row in one] + two),
        "types": ({"a.jsonl": lines(one), "b.jsonl": lines([{"id": "x9", "text": "t"}])}, words_of(one, "id") + [{"id": "x9", "text": "t"}]),
        "empty": ({"a.jsonl": lines(one), "b.jsonl": ""}, one),
        "both": ({"a.json": json.dumps(one), "b.json": lines(one)}, one + one),
    }
    for name, (files, rows) in inputs.items():
        for file_name, content in files.items():
            write(folder / name / file_name, content)
        ending = next(iter(files)).rpartition(".")[2]
        relation = f"read_json('{folder / name}/*.{ending}', union_by_name = true)"
        yield Shape(f"json folder {name}", folder / name, rows)
        yield Shape(f"json folder {name}/*.{ending}", folder / name / f"*.{ending}", rows, duckdb=relation)


def all_of(folder: pathlib.Path):
    for part in (layouts, types, broken, folders):
        yield from part(folder / "json" / part.__name__)
