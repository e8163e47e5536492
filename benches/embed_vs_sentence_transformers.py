"""Compares `sembla embed` with sentence-transformers: the same texts, the same model, one after the other, alternating.

Each measurement is a process of its own, so that its peak memory is its own too. "encode" leaves out starting and
loading. The vectors are compared at the end. Prints a Markdown table.
"""
import argparse
import csv
import json
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / ".sembla" / "bench-data"
SEMBLA = os.environ.get("SEMBLA") or str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "sembla")
BATCH = 32


def model_folder():
    return os.environ.get("MODEL", str(ROOT / ".sembla" / "models" / "all-MiniLM-L6-v2"))


def make_texts(rows):
    """Texts of mixed length from real questions: most are one question, some several, a few fill the model's 256 tokens."""
    answer = subprocess.run(
        [SEMBLA, "sql", "--format", "csv",
         "CREATE EXTERNAL TABLE q STORED AS PARQUET LOCATION 'examples/data/banking77.parquet';"
         "SELECT text FROM q ORDER BY id"],
        cwd=ROOT, check=True, capture_output=True, text=True)
    questions = [row["text"] for row in csv.DictReader(answer.stdout.splitlines(keepends=True))]
    rng = random.Random(77)

    def parts():
        share = rng.random()
        if share < 0.55:
            return 1
        if share < 0.80:
            return rng.randint(2, 3)
        if share < 0.95:
            return rng.randint(4, 7)
        return rng.randint(8, 19)

    return [" ".join(rng.choice(questions) for _ in range(parts())) for _ in range(rows)]


def write_texts(path, texts):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)


def read_texts(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def read_vectors(path):
    import numpy

    answer = subprocess.Popen(
        [SEMBLA, "sql", "--format", "ndjson", "--threads", "1",
         f"CREATE EXTERNAL TABLE v STORED AS PARQUET LOCATION '{path}'; SELECT embedding FROM v"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return numpy.array([json.loads(line)["embedding"] for line in answer.stdout], dtype=numpy.float32)


def measured(command, **options):
    """Runs a process; gives its seconds, its peak memory in MiB, and its standard error."""
    begun = time.monotonic()
    with open(WORK / "stderr", "w+b") as err:
        child = subprocess.Popen(command, stderr=err, cwd=ROOT, **options)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begun
        err.seek(0)
        words = err.read().decode()
    if child.returncode != 0:
        sys.exit(f"{command} failed: {words}")
    return seconds, usage.ru_maxrss / 1024, words


def run_reference(texts, threads):
    out = WORK / "reference.npy"
    command = [sys.executable, __file__, "--child", str(texts), "--vectors", str(out), "--threads", str(threads)]
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="true")
    seconds, memory, words = measured(command, env=environment)
    encode = json.loads([line for line in words.splitlines() if line.startswith("{")][-1])["encode"]
    return {"seconds": seconds, "encode": encode, "memory": memory}


def run_sembla(texts, precision, cache=None):
    out = WORK / f"{precision}.parquet"
    command = [SEMBLA, "embed", str(texts), "-o", str(out), "--column", "text", "--overwrite", "--restart",
               "-m", model_folder(), "--precision", precision]
    if cache:
        command += ["--cache", str(cache)]
    seconds, memory, words = measured(command)
    encode = float(re.search(r" in ([0-9.]+) s:", words)[1])
    return {"seconds": seconds, "encode": encode, "memory": memory, "tokens": int(
        re.search(r"([0-9,]+) tokens,", words)[1].replace(",", ""))}


def child(arguments):
    import numpy
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(arguments.threads)
    texts = read_texts(arguments.child)
    model = SentenceTransformer(model_folder(), device="cpu")
    begun = time.monotonic()
    vectors = model.encode(texts, batch_size=BATCH, show_progress_bar=False)
    encode = time.monotonic() - begun
    numpy.save(arguments.vectors, vectors)
    print(json.dumps({"encode": encode}), file=sys.stderr)


def agreement(precision):
    """Largest difference of a component, and mean and smallest cosine to the reference."""
    import numpy

    reference = numpy.load(WORK / "reference.npy")
    ours = read_vectors(WORK / f"{precision}.parquet")
    norms = numpy.linalg.norm(reference, axis=1) * numpy.linalg.norm(ours, axis=1)
    cosine = (reference * ours).sum(axis=1) / norms
    return numpy.abs(reference - ours).max(), cosine.mean(), cosine.min()


def report(results, rows, threads, runs):
    median = {name: {key: statistics.median(run[key] for run in all_runs) for key in all_runs[0]}
              for name, all_runs in results.items()}
    base = median["sentence-transformers"]
    tokens = median["f32"]["tokens"]
    names = {"sentence-transformers": f"sentence-transformers 6.2.0 (torch f32, batch {BATCH})",
             "f32": "sembla embed, f32", "q8": "sembla embed, q8"}
    print(f"{rows:,} texts of mixed length, {tokens / rows:.1f} tokens on average, all-MiniLM-L6-v2, "
          f"{threads} cores, median of {runs} run(s)\n")
    print("| | encode s | texts/s | tokens/s | speed-up | whole process s | speed-up | peak MiB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, row in median.items():
        print(f"| {names[name]} | {row['encode']:.1f} | {rows / row['encode']:.0f} | {tokens / row['encode']:.0f} "
              f"| {base['encode'] / row['encode']:.2f}× | {row['seconds']:.1f} "
              f"| {base['seconds'] / row['seconds']:.2f}× | {row['memory']:.0f} |")
    print()
    for precision in ("f32", "q8"):
        difference, mean, least = agreement(precision)
        print(f"{precision} against sentence-transformers: largest difference of a component {difference:.2e}, "
              f"cosine {mean:.5f} on average, {least:.5f} at least")
    if agreement("f32")[0] > 1e-4:
        sys.exit("the f32 vectors are not those of sentence-transformers")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--vectors", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(arguments)

    WORK.mkdir(parents=True, exist_ok=True)
    texts = WORK / f"texts-{arguments.rows}.jsonl"
    write_texts(texts, make_texts(arguments.rows))
    results = {"sentence-transformers": [], "f32": [], "q8": []}
    for run in range(arguments.runs):
        print(f"run {run + 1} of {arguments.runs}", file=sys.stderr)
        results["sentence-transformers"].append(run_reference(texts, arguments.threads))
        for precision in ("f32", "q8"):
            results[precision].append(run_sembla(texts, precision))
    report(results, arguments.rows, arguments.threads, arguments.runs)
    cache = WORK / "cache"
    subprocess.run(["rm", "-rf", str(cache)], check=True)
    first, second = run_sembla(texts, "f32", cache), run_sembla(texts, "f32", cache)
    print(f"f32 with --cache: {first['encode']:.1f} s, a second time {second['encode']:.2f} s "
          f"({first['encode'] / max(second['encode'], 0.01):.0f}×); whole process {first['seconds']:.1f} s and "
          f"{second['seconds']:.2f} s ({first['seconds'] / second['seconds']:.0f}×)")


if __name__ == "__main__":
    main()
