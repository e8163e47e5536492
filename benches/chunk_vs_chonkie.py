"""Compares `chunk()` with chonkie: the same texts, the same tokenizer, the same sizes, one after the other, alternating.

Needs the binary (`make build`) and an environment with `pip install chonkie tokenizers pyarrow`. The texts are questions
of examples/data put together into documents of about 16 kB, until there are --mb of them. Each measurement is a process
of its own, and leaves out starting it and reading the texts: chonkie's own time, and for Sembla the time of a query that
chunks less the time of one that only reads. Both may use all cores. Prints a Markdown table of medians in MB/s.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / ".sembla" / "bench-data"
SEMBLA = os.environ.get("SEMBLA") or str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "sembla")
TOKENIZER = ROOT / "models" / "builtin" / "all-MiniLM-L6-v2-q8" / "tokenizer.json"
METHODS = ["recursive", "sentence", "tokens"]


def make_texts(megabytes):
    """A Parquet file of documents of paragraphs of a few sentences."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / f"documents-{megabytes}mb.parquet"
    if path.exists():
        return path
    questions = pq.read_table(ROOT / "examples" / "data" / "banking77.parquet")["text"].to_pylist()
    documents, size, at = [], 0, 0
    while size < megabytes * 1_000_000:
        sentences = []
        while sum(map(len, sentences)) < 16_000:
            at = (at + 7919) % len(questions)
            sentences.append(questions[at] + ("\n\n" if len(sentences) % 5 == 4 else " "))
        documents.append("".join(sentences))
        size += len(documents[-1].encode())
    pq.write_table(pa.table({"id": range(len(documents)), "text": documents}), path)
    return path


def chonkie(path, method, size, overlap):
    """Seconds and chunks of chonkie, in this process."""
    import pyarrow.parquet as pq
    from chonkie import RecursiveChunker, SentenceChunker, TokenChunker
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = pq.read_table(path)["text"].to_pylist()
    if method == "recursive":
        chunker = RecursiveChunker(tokenizer=tokenizer, chunk_size=size)
    elif method == "sentence":
        chunker = SentenceChunker(tokenizer=tokenizer, chunk_size=size, chunk_overlap=overlap)
    else:
        chunker = TokenChunker(tokenizer=tokenizer, chunk_size=size, chunk_overlap=overlap)
    begun = time.perf_counter()
    chunks = chunker.chunk_batch(texts)
    seconds = time.perf_counter() - begun
    return seconds, sum(map(len, chunks))


def sembla(path, method, size, overlap):
    """Seconds and chunks of a query that chunks, less what one takes that only reads."""
    def run(query):
        begun = time.perf_counter()
        answer = subprocess.run([SEMBLA, "sql", "--format", "csv", query], cwd=ROOT, check=True, capture_output=True, text=True)
        return time.perf_counter() - begun, answer.stdout.split()[-1]
    read, _ = run(f"SELECT sum(length(text)) FROM '{path}'")
    seconds, chunks = run(
        f"SELECT count(*) FROM chunk('{path}', model => 'minilm', method => '{method}', size => {size}, overlap => {overlap})")
    return seconds - read, int(chunks)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--overlap", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--chonkie", metavar="METHOD", help=argparse.SUPPRESS)
    args = parser.parse_args()
    path = make_texts(args.mb)
    if args.chonkie:
        print(json.dumps(chonkie(path, args.chonkie, args.size, args.overlap)))
        return
    print(f"| {args.mb} MB, chunks of {args.size} tokens | sembla MB/s | chonkie MB/s | times | chunks of each |")
    print("|---|---:|---:|---:|---:|")
    for method in args.methods:
        # chonkie's recursive chunker has no overlap.
        overlap = 0 if method == "recursive" else args.overlap
        times = {"sembla": [], "chonkie": []}
        for _ in range(args.runs):
            seconds, own = sembla(path, method, args.size, overlap)
            times["sembla"].append(seconds)
            command = [sys.executable, __file__, "--chonkie", method, "--mb", str(args.mb), "--size", str(args.size),
                       "--overlap", str(overlap)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            seconds, theirs = json.loads(answer)
            times["chonkie"].append(seconds)
        ours, others = (args.mb / statistics.median(times[name]) for name in ("sembla", "chonkie"))
        print(f"| {method} | {ours:.1f} | {others:.1f} | {ours / others:.1f} | {own:,} / {theirs:,} |", flush=True)


if __name__ == "__main__":
    main()
