"""Compares `sembla embed` with model2vec: the same static model, Parquet to Parquet, one process each.

  PYTHON benches/static_vs_model2vec.py [ROWS]      wants model2vec and pyarrow; 500000 rows unless given

The texts are questions with a number each, so none repeats. Seconds are those of whole processes. The vectors are compared.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEMBLA = os.environ.get("SEMBLA") or str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "sembla")
MODEL = str(ROOT / "models" / "builtin" / "potion-base-4M-int8")


def with_model2vec(source, sink):
    """What one would write: read, encode, write."""
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(MODEL)
    table = pq.read_table(source)
    vectors = model.encode(table["text"].to_pylist()).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    pq.write_table(table.append_column("embedding", column), sink)


def timed(command):
    """The seconds of a process and its peak memory in MiB."""
    begun = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]} failed")
    return time.time() - begun, usage.ru_maxrss // 1024


def main(rows):
    with tempfile.TemporaryDirectory() as folder:
        texts, one, two = (os.path.join(folder, name) for name in ("texts.parquet", "one.parquet", "two.parquet"))
        questions = pq.read_table(ROOT / "examples" / "data" / "banking77.parquet")["text"].to_pylist()
        numbered = [f"{questions[n % len(questions)]} {n}" for n in range(rows)]
        pq.write_table(pa.table({"id": pa.array(range(rows)), "text": numbered}), texts)
        peer, peer_mib = timed([sys.executable, __file__, "--peer", texts, one])
        own, own_mib = timed([SEMBLA, "embed", texts, "-o", two, "--column", "text", "-m", "potion", "--columns", "id,text"])
        first = pq.read_table(one)["embedding"].combine_chunks().flatten().to_numpy()
        second = pq.read_table(two).sort_by("id")["embedding"].combine_chunks().flatten().to_numpy()
        first, second = first.reshape(rows, -1), second.reshape(rows, -1)
        cosines = np.sum(first * second, axis=1) / (np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))
        print(f"model2vec {rows / peer:,.0f} texts/s, {peer_mib} MiB; sembla {rows / own:,.0f} texts/s, {own_mib} MiB: "
              f"{peer / own:.1f}x; least cosine {cosines.min():.6f}")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--peer":
        with_model2vec(*sys.argv[2:4])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
