"""Fine-tunes all-MiniLM-L6-v2 on STS-B with `sembla train` and with sentence-transformers' trainer: same data, same settings.

    python benches/train_vs_sentence_transformers.py STSB_FOLDER [--steps N] [--epochs N] [--batch N] [--threads N] [--only sembla]

STSB_FOLDER holds `stsb-en-{train,dev,test}.csv.gz` (two sentences and a score a row, no header). Needs the binary (`make build`),
all-MiniLM-L6-v2 (`scripts/fetch-minilm.sh`) and `pip install "sentence-transformers[train]==6.2.0"`.

Each side is a process of its own, one after the other. Texts per second are those of the steps alone, without loading and without
evaluations; processor time and the peak of memory are the process's. On a machine with other work, compare processor time with
`--threads 1`: torch's threads wait for each other by spinning. Both results are then loaded in sentence-transformers, which computes
Spearman's correlation on the test set, and the vectors of Sembla's model are compared with those that Sembla computes from it.
Prints a Markdown table.
"""
import argparse
import csv
import gzip
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / ".sembla" / "bench-data" / "train"
SEMBLA = os.environ.get("SEMBLA") or str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "sembla")
BASE = ROOT / ".sembla" / "models" / "all-MiniLM-L6-v2"


def rows(folder, part):
    with gzip.open(folder / f"stsb-en-{part}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return [(first, second, float(score) / 5) for first, second, score in csv.reader(file)]


def write(folder, part):
    path = WORK / f"{part}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["sentence1", "sentence2", "score"])
        out.writerows(rows(folder, part))
    return path


def sembla(args):
    """Trains with Sembla and gives texts per second, and the process's peak of memory."""
    query = "SELECT sentence1, sentence2, score FROM '{}'"
    command = [
        SEMBLA, "train", "--base", str(BASE), "--data", query.format(write(args.folder, "train")), "--loss", "cosent",
        "--epochs", str(args.epochs), "--batch", str(args.batch), "--learning-rate", str(args.rate), "--seed", str(args.seed),
        "-o", str(WORK / "sembla"), "--overwrite", "--restart",
    ]
    if args.steps:
        command += ["--max-steps", str(args.steps)]
    else:
        command += ["--eval", query.format(write(args.folder, "dev"))]
    process = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=dict(
        os.environ, SEMBLA_PROGRESS_SECONDS="0", RAYON_NUM_THREADS=str(args.threads)))
    if process.returncode:
        sys.exit(process.stderr)
    print(process.stderr, file=sys.stderr)
    found = re.search(r"with cosent, ([\d.,]+) texts/s, ([\d.,]+) s", process.stderr)
    return {"texts_per_second": float(found[1].replace(",", "")), "seconds": float(found[2].replace(",", ""))}


def python(args):
    """The same with sentence-transformers."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss
    import torch

    torch.set_num_threads(args.threads)

    first, second, score = zip(*rows(args.folder, "train"))
    data = Dataset.from_dict({"sentence1": first, "sentence2": second, "score": score})
    model = SentenceTransformer(str(BASE), device="cpu")
    settings = SentenceTransformerTrainingArguments(
        output_dir=str(WORK / "python-work"), num_train_epochs=args.epochs, max_steps=args.steps or -1,
        per_device_train_batch_size=args.batch, learning_rate=args.rate, warmup_ratio=0.1, weight_decay=0.01, max_grad_norm=1.0,
        lr_scheduler_type="linear", seed=args.seed, save_strategy="no", report_to="none", use_cpu=True, logging_steps=50,
    )
    trainer = SentenceTransformerTrainer(model=model, args=settings, train_dataset=data, loss=CoSENTLoss(model))
    begun = time.perf_counter()
    steps = trainer.train().global_step
    seconds = time.perf_counter() - begun
    model.save(str(WORK / "python"))
    texts = 2 * min(steps * args.batch, args.epochs * len(data))
    return {"texts_per_second": texts / seconds, "seconds": seconds}


def measured(side, args):
    """Runs one side in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def spearman(name, folder):
    from scipy.stats import spearmanr
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(WORK / name), device="cpu")
    first, second, score = zip(*rows(folder, "test"))
    first, second = (model.encode(list(texts), normalize_embeddings=True) for texts in (first, second))
    return spearmanr((first * second).sum(1), score).statistic


def largest_difference(folder):
    """Between the vectors that sentence-transformers and Sembla compute with the model that Sembla trained."""
    import numpy
    from sentence_transformers import SentenceTransformer

    write(folder, "test")
    out = WORK / "vectors.npy"
    subprocess.run(
        [SEMBLA, "embed", str(WORK / "test.csv"), "-o", str(out), "--column", "sentence1", "--columns", "score", "--overwrite",
         "-m", str(WORK / "sembla"), "--precision", "f32"], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    model = SentenceTransformer(str(WORK / "sembla"), device="cpu")
    theirs = model.encode([first for first, _, _ in rows(folder, "test")])
    return float(numpy.abs(theirs - numpy.load(out)).max())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", choices=["sembla", "python"])
    parser.add_argument("--side", choices=["sembla", "python"])
    args = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if args.side:
        result = sembla(args) if args.side == "sembla" else python(args)
        whose = resource.RUSAGE_CHILDREN if args.side == "sembla" else resource.RUSAGE_SELF
        used = resource.getrusage(whose)
        print(json.dumps(result | {"mib": used.ru_maxrss / 1024, "processor": used.ru_utime + used.ru_stime}))
        return
    print("| | texts/s | seconds | processor seconds | peak MiB | Spearman on the test set |\n|---|---:|---:|---:|---:|---:|")
    for side in [args.only] if args.only else ["python", "sembla"]:
        result = measured(side, args)
        value = spearman(side, args.folder)
        print(f"| {side} | {result['texts_per_second']:.0f} | {result['seconds']:.0f} | {result['processor']:.0f} | {result['mib']:.0f} | {value:.4f} |")
    if args.only != "python":
        print(f"\nLargest difference between vectors of the trained model in sentence-transformers and in Sembla: "
              f"{largest_difference(args.folder):.1e}")
    shutil.rmtree(WORK / "python-work", ignore_errors=True)


main()
