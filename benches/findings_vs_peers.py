"""Compares Sembla's findings with the Python programs that people use for them, on the same vectors or texts.

    python benches/findings_vs_peers.py mining 50000
    python benches/findings_vs_peers.py communities 20000
    python benches/findings_vs_peers.py dedup 120000
    python benches/findings_vs_peers.py growth 25000 50000 100000 200000

Every measurement is a process of its own, one after the other, so that its peak memory is its own too. Sembla's seconds
are those of the whole process, with reading and writing files; a peer's are those of its function alone, which is in its
favour. Needs sentence-transformers 6.2.0, semhash, model2vec and pyarrow. Prints a Markdown table.

Vectors are those of the questions in examples/data (all-MiniLM-L6-v2), repeated with noise up to the number of rows;
texts for deduplication are pairs of those questions, a fifth of them repeated with small changes.
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / ".sembla" / "bench-data"
SEMBLA = os.environ.get("SEMBLA") or str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "sembla")
DATA = ROOT / "examples" / "data" / "banking77.parquet"


def make_vectors(rows):
    """A Parquet file with the columns id and embedding."""
    path = WORK / f"vectors-{rows}.parquet"
    if path.exists():
        return path
    base = WORK / "banking77-vectors.parquet"
    if not base.exists():
        subprocess.run([SEMBLA, "embed", str(DATA), "-o", str(base), "--column", "text"], check=True)
    known = pq.read_table(base)["embedding"].combine_chunks()
    known = known.flatten().to_numpy().reshape(len(known), -1)
    rng = np.random.default_rng(7)
    vectors = known[np.arange(rows) % len(known)].astype(np.float32)
    fresh = min(rows, len(known))
    noise = rng.standard_normal((rows - fresh, vectors.shape[1]), dtype=np.float32)
    vectors[fresh:] += 0.6 / np.sqrt(vectors.shape[1]) * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    pq.write_table(pa.table({"id": pa.array(np.arange(rows)), "embedding": column}), path)
    return path


def make_texts(rows):
    """A Parquet file with the columns id and text."""
    path = WORK / f"texts-{rows}.parquet"
    if path.exists():
        return path
    questions = pq.read_table(DATA)["text"].to_pylist()
    rng = random.Random(7)
    texts = [f"{rng.choice(questions)} {rng.choice(questions)}" for _ in range(rows * 4 // 5)]
    while len(texts) < rows:
        text = rng.choice(texts)
        change = rng.randrange(3)
        if change == 1:
            text = text.upper()
        elif change == 2:
            words = text.split()
            words.pop(rng.randrange(len(words)))
            text = " ".join(words)
        texts.append(text)
    rng.shuffle(texts)
    pq.write_table(pa.table({"id": pa.array(np.arange(rows)), "text": texts}), path)
    return path


def read_vectors(path):
    column = pq.read_table(path)["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), -1)


def peer(job, path):
    """Runs in a process of its own and prints one line of JSON."""
    if job == "dedup":
        from model2vec import StaticModel
        from semhash import SemHash
        texts = pq.read_table(path)["text"].to_pylist()
        model = StaticModel.from_pretrained(ROOT / "models" / "builtin" / "potion-base-4M-int8")
        begun = time.perf_counter()
        result = SemHash.from_records(records=texts, model=model).self_deduplicate(threshold=0.9)
        seconds, found = time.perf_counter() - begun, len(texts) - len(result.selected)
    else:
        import torch
        from sentence_transformers import util
        torch.set_num_threads(os.cpu_count())
        vectors = torch.from_numpy(read_vectors(path).copy())
        begun = time.perf_counter()
        if job == "mining":
            result = util.paraphrase_mining_embeddings(vectors, top_k=10)
        else:
            result = util.community_detection(vectors, threshold=0.75, min_community_size=10)
        seconds, found = time.perf_counter() - begun, len(result)
    print(json.dumps({"seconds": seconds, "found": found}))


def run(command):
    """Seconds and peak memory in MiB of a command, and what it printed."""
    report = WORK / "time.txt"
    begun = time.perf_counter()
    process = subprocess.run(["/usr/bin/time", "-f", "%M", "-o", str(report), *command], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if process.returncode:
        sys.exit(f"{command[0]} failed: {process.stderr.strip()}")
    return seconds, int(report.read_text().split()[-1]) / 1024, process.stdout


def sembla(job, path):
    out = WORK / f"{job}.parquet"
    command = [SEMBLA, {"communities": "sql"}.get(job, "mine" if job == "mining" else job)]
    if job == "mining":
        command += [str(path), "--vectors", "embedding", "--id", "id", "--top-k", "10"]
    elif job == "dedup":
        command += [str(path), "--model", "potion", "--threshold", "0.9", "--id", "id"]
    else:
        query = f"SELECT community_id, rank, id FROM communities('{path}', threshold => 0.75, min_size => 10)"
        seconds, peak, output = run([*command, "--format", "csv", query])
        return seconds, peak, len({line.split(",")[0] for line in output.splitlines()[1:]})
    seconds, peak, _ = run([*command, "-o", str(out), "--overwrite"])
    result = pq.read_table(out)
    found = result.num_rows if job == "mining" else result["is_kept"].to_pylist().count(False)
    return seconds, peak, found


def compare(job, rows):
    path = make_texts(rows) if job == "dedup" else make_vectors(rows)
    peer_name = {"dedup": "semhash"}.get(job, "sentence-transformers")
    _, peer_peak, output = run([sys.executable, __file__, "--peer", job, str(path)])
    theirs = json.loads(output.splitlines()[-1])
    seconds, peak, found = sembla(job, path)
    print(f"| {job}, {rows:,} rows | s | speed-up | peak MiB | found |")
    print("|---|---:|---:|---:|---:|")
    print(f"| {peer_name} | {theirs['seconds']:.2f} | 1.0x | {peer_peak:.0f} | {theirs['found']:,} |")
    print(f"| sembla | {seconds:.2f} | {theirs['seconds'] / seconds:.1f}x | {peak:.0f} | {found:,} |")


def product_rate():
    """Operations a second, in 10^9, of torch's dense f32 product on all cores."""
    import torch
    torch.set_num_threads(os.cpu_count())
    one, two, product = torch.rand(3072, 3072), torch.rand(3072, 3072), torch.empty(3072, 3072)
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        torch.matmul(one, two, out=product)
        seconds.append(time.perf_counter() - begun)
    return 2 * 3072**3 / min(seconds) / 1e9


def growth(rows):
    rate = product_rate()
    print(f"A dense f32 product: {rate:.0f} Gop/s\n")
    print("| rows | s | of n² | Gop/s on the triangle | of the dense product | peak MiB | vectors MiB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    first = None
    for count in rows:
        path = make_vectors(count)
        seconds, peak, _ = sembla("mining", path)
        first = first or seconds / count**2
        size, reached = count * 384 * 4 / 2**20, count**2 * 384 / seconds / 1e9
        print(f"| {count:,} | {seconds:.2f} | {seconds / count**2 / first:.2f} | {reached:.0f} | "
              f"{100 * reached / rate:.0f} % | {peak:.0f} | {size:.0f} |")


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    arguments = sys.argv[1:]
    if arguments[:1] == ["--peer"]:
        return peer(*arguments[1:])
    if not arguments or not all(rows.isdigit() for rows in arguments[1:]):
        sys.exit(__doc__)
    job, rows = arguments[0], [int(rows) for rows in arguments[1:]] or [50_000]
    if job == "growth":
        return growth(rows)
    if job not in ("mining", "communities", "dedup"):
        sys.exit(__doc__)
    for count in rows:
        compare(job, count)


if __name__ == "__main__":
    main()
