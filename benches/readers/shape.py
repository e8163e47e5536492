"""What a generated input is, and the small tools that write one."""
import bz2
import dataclasses
import gzip
import lzma
import pathlib
import random
import typing

import zstandard

# Words with what text formats trip over: quotes, separators, backslashes, letters of several bytes.
WORDS = ["card", "rain", "money", "late", "größe", "日本", 'say "hi"', "it's", "back\\slash", "semi;colon", "pipe|d", "tab\there"]
WORDS += ["comma,here", "🙂", "a#b", "100%", "<b>", "\u00a0x"]


@dataclasses.dataclass
class Shape:
    """One input, as a file, a folder or a glob, with the rows that were written, or a pattern of the error it deserves."""

    name: str
    target: pathlib.Path
    rows: "list[dict] | None" = None
    error: "str | None" = None
    duckdb: "str | None" = None
    polars: "typing.Callable | None" = None


def write(path: pathlib.Path, content: "str | bytes", compression: str = "") -> pathlib.Path:
    content = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    pack = {"": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}
    path.write_bytes(pack[compression](content))
    return path


def texts(count: int, seed: int, lines: bool = False) -> "list[dict]":
    """Rows of id, text, n and x; with `lines`, half of the texts have line breaks and some end with a backslash."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        text = " ".join(chance.choice(WORDS) for _ in range(chance.randint(1, 8))) + f" {number}"
        if lines and chance.random() < 0.5:
            text += f"\nsecond line, of {number}\n\nlast"
        if lines and chance.random() < 0.3:
            text += " ends in\\"
        rows.append({"id": number + 1, "text": text, "n": chance.randint(-5, 99), "x": chance.randint(0, 400) / 4})
    return rows


def words_of(rows: "list[dict]", column: str) -> "list[dict]":
    """The rows with the numbers of a column as text: what a column becomes when a later value is none."""
    return [{**row, column: None if row[column] is None else str(row[column])} for row in rows]
