"""Generates some 200 CSV, JSON and Parquet files and folders of many shapes, and has Sembla, DuckDB and polars read each.

Usage: readers_vs_peers.py [NAME_PART]    with duckdb, polars, pyarrow and zstandard from PyPI; SEMBLA names the binary

What was written is known, so each reader is compared with that: Sembla by rows in their order (files by path, rows by
place), the peers by rows in any order. A row of the table that is printed is a read in which somebody differs; Sembla must
not, so that the exit code is 1 where it does. Where a peer differs, `readers/reasons.py` says why Sembla's answer is right.
"""
import collections
import datetime
import decimal
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import duckdb

from readers import reasons, shapes_csv, shapes_json, shapes_parquet

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEMBLA = os.environ.get("SEMBLA") or str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "sembla")
MOMENT = re.compile(r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.0+)?(Z|\+00(:?00)?)?$")


def canonical(value):
    """A value as all three readers would have it: numbers as floats while they are exact, times as ISO text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value) if abs(value) < 2**53 else value
    if isinstance(value, (float, decimal.Decimal)):
        # Seven digits: f32 values are written shorter by some.
        return None if math.isnan(value) else float(f"{value:.7g}")
    if isinstance(value, datetime.datetime):
        value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
        return value.isoformat()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        return {name: canonical(item) for name, item in value.items()}
    moment = MOMENT.match(str(value))
    return f"{moment[1]}T{moment[2]}" if moment else str(value)


def key(row):
    return json.dumps(row, sort_keys=True)


def difference(got, written, is_ordered):
    """How the rows that were read differ from those that were written; empty where they don't."""
    columns = sorted(set().union(*written)) if written else []
    got = [canonical(row) for row in got]
    written = [canonical({name: row.get(name) for name in columns}) for row in written]
    if got and written and sorted(got[0]) != columns:
        return f"columns {sorted(got[0])[:6]} instead of {columns[:6]}"
    if len(got) != len(written):
        return f"{len(got)} rows instead of {len(written)}"
    if not is_ordered:
        more = collections.Counter(map(key, got)) - collections.Counter(map(key, written))
        return f"{sum(more.values())} other rows, {next(iter(more))[:80]}" if more else ""
    for number, (mine, theirs) in enumerate(zip(got, written)):
        for name in columns:
            if mine.get(name) != theirs[name]:
                return f"row {number}, {name}: {str(mine.get(name))[-60:]!r} instead of {str(theirs[name])[-60:]!r}"
    return ""


def read_by_sembla(target):
    """The rows, or the error as a text."""
    quoted = str(target).replace("'", "''")
    command = [SEMBLA, "sql", "--format", "ndjson", f"SELECT * FROM '{quoted}'"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if run.returncode:
        last = (run.stderr.strip().splitlines() or [""])[-1]
        return None, f"exit {run.returncode}: {last}"
    return [json.loads(line) for line in run.stdout.splitlines() if line.strip()], ""


def read_by_duckdb(relation):
    connection = duckdb.connect()
    connection.execute("SET timezone = 'UTC'")
    cursor = connection.execute(f"SELECT * FROM {relation}")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def verdict_of_sembla(shape):
    rows, error = read_by_sembla(shape.target)
    if shape.error:
        refused = rows is None and error.startswith("exit 2") and re.search(shape.error, error)
        return "" if refused else f"should be refused with {shape.error!r}: {error or 'was read'}"
    return error if rows is None else difference(rows, shape.rows, is_ordered=True)


def verdict_of_peer(read, rows):
    try:
        return difference(read(), rows, is_ordered=False)
    except Exception as error:  # Whatever a peer raises is its verdict.
        return f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"


def main():
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shapes = [*shapes_csv.all_of(folder), *shapes_json.all_of(folder), *shapes_parquet.all_of(folder)]
        files = sum(path.is_file() for path in folder.rglob("*"))
        print(f"{len(shapes)} reads of {files} files\n\n| read | Sembla | DuckDB | polars | why |\n|---|---|---|---|---|")
        for shape in shapes:
            if part not in shape.name:
                continue
            sembla = verdict_of_sembla(shape)
            peers = {}
            if shape.duckdb:
                peers["duckdb"] = verdict_of_peer(lambda: read_by_duckdb(shape.duckdb), shape.rows)
            if shape.polars:
                peers["polars"] = verdict_of_peer(lambda: shape.polars().to_dicts(), shape.rows)
            counts["differ" if sembla else "equal"] += 1
            for peer, found in peers.items():
                counts[f"{peer} {'differs' if found else 'equal'}"] += 1
            if sembla or any(peers.values()):
                why = "" if sembla else reasons.why(shape.name)
                columns = [sembla, peers.get("duckdb", "not asked"), peers.get("polars", "not asked")]
                print("| " + " | ".join([shape.name, *((text or "=").replace("|", "\\|") for text in columns), why]) + " |")
    print(f"\n{dict(counts)}")
    sys.exit(1 if counts["differ"] else 0)


if __name__ == "__main__":
    main()
