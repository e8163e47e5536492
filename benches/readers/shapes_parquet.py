"""Parquet: every type that pyarrow writes for texts, numbers, times and vectors, and folders whose files differ."""
import datetime
import decimal
import pathlib

import numpy
import polars
import pyarrow as arrow
import pyarrow.parquet as parquet

from .shape import Shape, texts, write

MOMENT = datetime.datetime(2024, 1, 2, 3, 4, 5)
STRINGS = {"utf8": arrow.string(), "large": arrow.large_string(), "view": arrow.string_view()}
INTEGERS = [arrow.int8(), arrow.int16(), arrow.int32(), arrow.int64(), arrow.uint8(), arrow.uint16(), arrow.uint32(), arrow.uint64()]
VECTORS = {
    "list-f64": arrow.list_(arrow.float64()),
    "list-f32": arrow.list_(arrow.float32()),
    "large-f32": arrow.large_list(arrow.float32()),
    "fixed-f32": arrow.list_(arrow.float32(), 2),
    "fixed-f64": arrow.list_(arrow.float64(), 2),
}


def put(path: pathlib.Path, table, **options) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table if isinstance(table, arrow.Table) else arrow.table(table), path, **options)
    return path


def file(path: pathlib.Path, table, peers: str = "duckdb polars", **options) -> Shape:
    table = table if isinstance(table, arrow.Table) else arrow.table(table)
    put(path, table, **options)
    return Shape(
        f"parquet {path.name}",
        path,
        table.to_pylist(),
        duckdb=f"read_parquet('{path}')" if "duckdb" in peers else None,
        polars=(lambda: polars.read_parquet(path)) if "polars" in peers else None,
    )


def types(folder: pathlib.Path):
    for name, kind in STRINGS.items():
        yield file(folder / f"string-{name}.parquet", {"id": [1, 2, 3], "text": arrow.array(["a", None, "größe"], kind)})
    for name, values in {"plain": ["a", "b", "a"], "nulls": ["a", None, "a"]}.items():
        yield file(folder / f"dictionary-{name}.parquet", {"id": [1, 2, 3], "text": arrow.array(values).dictionary_encode()})
    for kind in INTEGERS:
        yield file(folder / f"{kind}.parquet", {"id": arrow.array([0, 1, 100], kind), "text": ["a", "b", "c"]})
    for kind in (arrow.float16(), arrow.float32(), arrow.float64()):
        values = arrow.array(numpy.array([1.5, -2.25], kind.to_pandas_dtype()), kind)
        yield file(folder / f"{kind}.parquet", {"id": [1, 2], "v": values})
    for unit in ("s", "ms", "us", "ns"):
        yield file(folder / f"timestamp-{unit}.parquet", {"id": [1, 2], "at": arrow.array([MOMENT, None], arrow.timestamp(unit))})
    for name, kind in VECTORS.items():
        yield file(folder / f"vector-{name}.parquet", {"id": [1, 2], "v": arrow.array([[0.5, 1.5], [2.5, -1.0]], kind)})
    columns = {
        "timestamp-utc": arrow.array([MOMENT], arrow.timestamp("us", "UTC")),
        "date": arrow.array([MOMENT.date()]),
        "decimal": arrow.array([decimal.Decimal("1.10"), decimal.Decimal("-0.05")], arrow.decimal128(10, 2)),
        "bool": arrow.array([True, None]),
        "null": arrow.nulls(2),
        "struct": arrow.array([{"a": 1, "b": ["x", "y"]}, {"a": 2, "b": []}]),
        "int8-list": arrow.array([[1, 2], [3, 4]], arrow.list_(arrow.int8())),
    }
    for name, column in columns.items():
        yield file(folder / f"{name}.parquet", {"id": list(range(len(column))), "v": column})


def layouts(folder: pathlib.Path):
    for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
        yield file(folder / f"codec-{codec}.parquet", arrow.Table.from_pylist(texts(500, 1)), compression=codec)
    yield file(folder / "row-groups.parquet", arrow.Table.from_pylist(texts(20000, 2)), row_group_size=700)
    yield file(folder / "wide.parquet", {f"c{place}": [place] for place in range(600)})
    yield file(folder / "names.parquet", {"a b": [1], "größe": [2], "x.y": [3], "Text": ["u"], "text": ["v"]}, peers="polars")
    yield file(folder / "no-rows.parquet", {"id": arrow.array([], arrow.int64()), "text": arrow.array([], arrow.string())})


def broken(folder: pathlib.Path):
    twice = arrow.Table.from_arrays([arrow.array([1]), arrow.array([10]), arrow.array([100])], names=["id", "value", "value"])
    yield Shape("parquet twice.parquet", put(folder / "twice.parquet", twice), error=r"twice\.parquet.*value|value.*twice\.parquet")
    yield Shape("parquet fake.parquet", write(folder / "fake.parquet", b"PAR1 this is not one PAR1"), error=r"fake\.parquet")
    whole = put(folder / "whole" / "a.parquet", arrow.Table.from_pylist(texts(500, 3))).read_bytes()
    yield Shape("parquet torn.parquet", write(folder / "torn.parquet", whole[: len(whole) // 2]), error=r"torn\.parquet")


def one_and_two(one, two, values=("a", "b"), name: str = "text"):
    """Two files of one row each, whose column has another type in each; and the rows."""
    tables = {f"{place}.parquet": {"id": [place], name: arrow.array([value], kind)} for place, (value, kind) in enumerate(zip(values, (one, two)))}
    return tables, [{"id": place, name: value} for place, value in enumerate(values)]


def folders(folder: pathlib.Path):
    inputs = {f"strings-{one}-{two}": one_and_two(STRINGS[one], STRINGS[two]) for one in STRINGS for two in STRINGS if one != two}
    inputs["dictionary"] = one_and_two(arrow.dictionary(arrow.int32(), arrow.string()), arrow.string())
    widths = [(arrow.int32(), arrow.int64(), 2**40), (arrow.int64(), arrow.int32(), 7), (arrow.int8(), arrow.int64(), 2**40)]
    widths += [(arrow.uint32(), arrow.int64(), 5), (arrow.int32(), arrow.float64(), 2.5), (arrow.float32(), arrow.float64(), 0.1)]
    for one, two, value in widths:
        inputs[f"widen-{one}-{two}"] = one_and_two(one, two, (1, value), "v")
    for one, two in (("ms", "us"), ("us", "ns"), ("s", "ms"), ("ns", "ms")):
        inputs[f"times-{one}-{two}"] = one_and_two(arrow.timestamp(one), arrow.timestamp(two), (MOMENT, MOMENT), "at")
    inputs["null"] = one_and_two(arrow.null(), arrow.string(), (None, "x"), "v")
    inputs["missing"] = {"a.parquet": {"id": [1]}, "b.parquet": {"id": [2], "v": ["e"]}}, [{"id": 1, "v": None}, {"id": 2, "v": "e"}]
    inputs["order"] = {"a.parquet": {"id": [1], "v": ["a"]}, "b.parquet": {"v": ["b"], "id": [2]}}, [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]
    many = {f"{place:02}.parquet": {"id": list(range(place * 100, place * 100 + 100))} for place in range(13)}
    inputs["many"] = many, [{"id": row} for row in range(1300)]
    inputs["equals"] = {"a=b.parquet": {"id": [1]}, "c.parquet": {"id": [2]}}, [{"id": 1}, {"id": 2}]
    hive = {f"lang={lang}/year={year}/a.parquet": {"id": [year]} for lang in ("de", "en") for year in (2023, 2024)}
    inputs["hive"] = hive, [{"id": year, "lang": lang, "year": year} for lang in ("de", "en") for year in (2023, 2024)]
    inputs["hive-null"] = {"v=__HIVE_DEFAULT_PARTITION__/a.parquet": {"id": [1]}, "v=de/a.parquet": {"id": [2]}}, [{"id": 1, "v": None}, {"id": 2, "v": "de"}]
    inputs["hive-escaped"] = {"v=a%2Fb/a.parquet": {"id": [1]}, "v=x y/a.parquet": {"id": [2]}}, [{"id": 1, "v": "a/b"}, {"id": 2, "v": "x y"}]
    for name, (tables, rows) in inputs.items():
        for file_name, table in tables.items():
            put(folder / name / file_name, table)
        is_hive = name.startswith("hive")
        relation = f"read_parquet('{folder / name}/**/*.parquet', union_by_name = true, hive_partitioning = {str(is_hive).lower()})"
        yield Shape(f"parquet folder {name}", folder / name, rows, duckdb=relation)
        glob = "**/*.parquet" if is_hive else "*.parquet"
        yield Shape(f"parquet folder {name}/{glob}", folder / name / glob, rows)


def all_of(folder: pathlib.Path):
    for part in (types, layouts, broken, folders):
        yield from part(folder / "parquet" / part.__name__)
