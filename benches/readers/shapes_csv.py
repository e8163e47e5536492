"""CSV: separators, quotes, line ends, sizes, compressions, types that change late, and folders of such files."""
import pathlib

import polars

from .shape import Shape, texts, words_of, write

NAMES = ["id", "text", "n", "x"]
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}


def field(value, separator: str) -> str:
    text = "" if value is None else str(value)
    needs_quotes = value == "" or any(sign in text for sign in (separator, '"', "\n", "\r"))
    return '"' + text.replace('"', '""') + '"' if needs_quotes else text


def csv(rows: "list[dict]", names: "list[str] | None" = None, separator: str = ",", end: str = "\n") -> str:
    names = names or list(rows[0])
    lines = [separator.join(field(name, separator) for name in names)]
    lines += [separator.join(field(row.get(name), separator) for name in names) for row in rows]
    return end.join(lines) + end


def file(path: pathlib.Path, rows: "list[dict]", content: "str | None" = None, separator: str = ",", compression: str = "") -> Shape:
    """A file that both peers are asked to read, guessing types over all of it."""
    write(path, csv(rows, separator=separator) if content is None else content, compression)
    options = f"delim = '{separator}', quote = '\"', escape = '\"', header = true, sample_size = -1"
    can_unpack = compression in ("", "gz", "zst")
    return Shape(
        f"csv {path.name}",
        path,
        rows,
        duckdb=f"read_csv('{path}', {options})" if can_unpack else None,
        polars=(lambda: polars.read_csv(path, separator=separator, infer_schema_length=None)) if can_unpack else None,
    )


def layouts(folder: pathlib.Path):
    """Every separator at every size, with and without line breaks in quotes, with both line ends."""
    seed = 0
    for count in (3, 40, 700, 6000):
        for lines in (False, True):
            for name, separator in SEPARATORS.items():
                for end, line_end in (("lf", "\n"), ("crlf", "\r\n")):
                    if end == "crlf" and count in (40, 700):
                        continue
                    seed += 1
                    rows = texts(count, seed, lines)
                    content = csv(rows, separator=separator, end=line_end)
                    content = content if seed % 3 else content.removesuffix(line_end)
                    kind = "lines" if lines else "plain"
                    ending = "tsv" if name == "tab" else "csv"
                    yield file(folder / f"{name}-{kind}-{count}-{end}.{ending}", rows, content, separator)
    for compression in ("gz", "bz2", "xz", "zst"):
        yield file(folder / f"packed.csv.{compression}", texts(900, seed, True), compression=compression)
    rows = texts(20, seed)
    yield file(folder / "bom.csv", rows, "\ufeff" + csv(rows))


def late(folder: pathlib.Path):
    """3,000 values of one kind, and then one of another."""
    kinds = {
        "int-float": (lambda row: row, 2.5, False),
        "int-text": (lambda row: row, "A3001", True),
        "int-big": (lambda row: row, 2**62 + 1, False),
        "int-unsigned": (lambda row: row, 2**64 - 1, False),
        "null-text": (lambda row: None, "here is one", False),
        "null-int": (lambda row: None, 42, False),
        "float-text": (lambda row: row / 2, "n/a", True),
        "bool-text": (lambda row: "true", "maybe", False),
        "date-text": (lambda row: f"2024-01-0{row % 9 + 1}", "soon", False),
        "zip-zero": (lambda row: 10000 + row, "00501", True),
    }
    for name, (value, last, becomes_text) in kinds.items():
        rows = [{"id": row, "text": f"t{row}", "v": value(row)} for row in range(3000)]
        rows.append({"id": 3000, "text": "last", "v": last})
        shape = file(folder / f"late-{name}.csv", rows)
        shape.rows = words_of(rows, "v") if becomes_text else rows
        yield shape


def values(folder: pathlib.Path):
    """Values that are easily taken for something else."""
    columns = {
        "zip": ["00501", "10001", "02134"],
        "phone": ["+4930123", "030-1234", "0049301"],
        "price": [1.1, 0.05, 1e-7, 1e300, -2.5],
        "ids": [2**63 - 1, 2**63 - 2, -(2**63)],
        "unsigned": [2**64 - 1, 2**64 - 2],
        "hex": ["1e5a", "12e", "e12", "0x1f"],
        "words": ["NULL", "null", "NA", "nan", "None", "-"],
        "spaces": [" lead", "trail ", "mid dle"],
        "dates": ["2024-02-01", "2024-02-29"],
        "moments": ["2024-02-01T10:00:00", "2024-02-29T23:59:59"],
    }
    for name, column in columns.items():
        yield file(folder / f"values-{name}.csv", [{"v": value, "text": f"t{place}"} for place, value in enumerate(column)])
    yield file(folder / "one-column.csv", [{"text": f"hello {row}"} for row in range(30)])
    yield file(folder / "wide.csv", [{f"c{place}": place * row for place in range(300)} for row in range(4)])
    yield file(folder / "names.csv", [{"a b": 1, "größe": 2, "x,y": "z", 'q"t': "u"}])
    yield file(folder / "nulls.csv", [{"id": 1, "text": None}, {"id": 2, "text": "a"}])
    yield file(folder / "blank-lines.csv", [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}], "id,text\n1,a\n\n2,b\n\n\n")
    yield Shape("csv header-only.csv", write(folder / "header-only.csv", "id,text\n"), [])
    rows = [{"column_1": row, "column_2": f"t{row}", "column_3": row + 0.5} for row in range(3)]
    yield Shape("csv no-header.csv", write(folder / "no-header.csv", "".join(f"{row},t{row},{row + 0.5}\n" for row in range(3))), rows)
    yield Shape("csv long-field.csv", write(folder / "long-field.csv", csv([{"id": 1, "text": "word " * 200_000}])), [{"id": 1, "text": "word " * 200_000}])


def broken(folder: pathlib.Path):
    """What can't be read names the file, and the place where there is one."""
    contents = {
        "short": ("id,text,c\n1,a,b\n2,b\n3,c,d\n", r"short\.csv.*(row|line) [23]"),
        "long": ("id,text\n1,a\n2,b,more\n3,c\n", r"long\.csv.*(row|line) [23]"),
        "twice": ("id,text,text\n1,a,b\n", r"twice\.csv.*text|text.*twice\.csv"),
        "open-quote": ('id,text\n1,"a\n2,b\n', r"open-quote\.csv.*(row|line) [12]"),
    }
    for name, (content, error) in contents.items():
        yield Shape(f"csv {name}.csv", write(folder / f"{name}.csv", content), error=error)
    yield Shape("csv latin.csv", write(folder / "latin.csv", "id,text\n1,größe\n".encode("latin-1")), error=r"latin\.csv.*UTF-8")


def folders(folder: pathlib.Path):
    one = [{"id": row, "text": f"t{row}"} for row in range(10)]
    two = [{"id": 10 + row, "text": f"u{row}"} for row in range(10)]
    langs = [{**row, "lang": "en"} for row in one]
    inputs = {
        "order": ({"a.csv": csv(langs), "b.csv": csv(langs, ["lang", "text", "id"])}, langs + langs, "*.csv"),
        "missing": ({"a.csv": csv(langs), "b.csv": csv(two)}, langs + [{**row, "lang": None} for row in two], "*.csv"),
        "types": ({"a.csv": csv(one), "b.csv": "id,text\nA1,x\n"}, words_of(one, "id") + [{"id": "A1", "text": "x"}], "*.csv"),
        "nested": ({"x/a.csv": csv(one), "y/z/b.csv": csv(two)}, one + two, "**/*.csv"),
        "hidden": ({"a.csv": csv(one), "_tmp.csv": "torn", ".b.csv": csv(two), "_log/x.csv": "q\n1\n"}, one, "*.csv"),
        "empty": ({"a.csv": csv(one), "b.csv": "", "c.csv": "id,text\n"}, one, "*.csv"),
        "run [1]": ({"a.csv": csv(one)}, one, None),
        "a %20 b": ({"c d%e.csv": csv(one)}, one, "*.csv"),
        "equals": ({"a=b.csv": csv(one), "date=2024.csv": csv(two)}, one + two, "*.csv"),
        "capitals": ({"A.CSV": csv(one), "b.csv": csv(two)}, one + two, None),
        "hive": ({"lang=de/a.csv": csv(two), "lang=en/a.csv": csv(one)}, [{**row, "lang": "de"} for row in two] + langs, "**/*.csv"),
    }
    for name, (files, rows, glob) in inputs.items():
        for file_name, content in files.items():
            write(folder / name / file_name, content)
        yield Shape(f"csv folder {name}", folder / name, rows)
        if glob:
            relation = f"read_csv('{folder / name / glob}', union_by_name = true, hive_partitioning = {str(name == 'hive').lower()})"
            yield Shape(f"csv folder {name}/{glob}", folder / name / glob, rows, duckdb=relation)
    write(folder / "packed" / "a.csv", csv(one))
    write(folder / "packed" / "b.csv.gz", csv(two), "gz")
    write(folder / "packed" / "c.csv.zst", csv(one), "zst")
    yield Shape("csv folder packed", folder / "packed", one + two + one)


def all_of(folder: pathlib.Path):
    for part in (layouts, late, values, broken, folders):
        yield from part(folder / "csv" / part.__name__)
