"""Compares `sembla embed` with the fastest other ways to embed on a processor: the same texts, the same model.

    sentence-transformers 6 on torch (f32), on ONNX Runtime (f32, dynamic int8) and on OpenVINO (f32, static int8);
    fastembed (ONNX Runtime, f32); sembla (f32, q8)

Needs the binary (`make build`), all-MiniLM-L6-v2 (`scripts/fetch-minilm.sh`), and two environments (12 GB together,
torch brings CUDA along):

    pip install sentence-transformers==6.2.0 fastembed onnxruntime onnx
    pip install "sentence-transformers[openvino]==6.2.0" nncf      # --openvino-python names its interpreter

sentence-transformers' own ONNX backend can't be installed with its version 6 (optimum-onnx wants transformers 4), so
its encoder runs ONNX Runtime by a class of a few lines here, with the weights quantised as that backend does it.

Peers' graphs are made once, with their own tools, below .sembla/bench-data/peers.

Each measurement is a process of its own; in each run all peers take turns, so that a machine that slows down slows all
of them down. "encode" leaves out starting and loading, as "processor" does, which is the user and system time of all
threads. `--isa avx2` shows what each does without AVX-512; ONNX Runtime can't be told, so a changed copy of it runs
(onnxruntime_avx2.py). Graphs are made for the level of the first run: remove .sembla/bench-data/peers for another.
Prints a Markdown table of medians.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import time

import onnxruntime_avx2
from embed_vs_sentence_transformers import BATCH, ROOT, SEMBLA, WORK, make_texts, model_folder, read_texts, write_texts

PEERS = WORK / "peers"
# Copies of ONNX Runtime that know no AVX-512.
NARROW = PEERS / "onnxruntime-avx2"
RUNTIME = ROOT / ".sembla" / "onnxruntime" / "libonnxruntime.so"
# What int8 graphs are calibrated with: real questions that are not measured.
CALIBRATION_TEXTS = 300


def torch_f32(threads):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    return SentenceTransformer(model_folder(), device="cpu").encode


def onnx(threads, file):
    import onnxruntime
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.modeling_outputs import BaseModelOutput

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(PEERS / "onnx" / file), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    torch.set_num_threads(threads)
    model = SentenceTransformer(model_folder(), device="cpu")

    class Graph(torch.nn.Module):
        config = model[0].model.config

        def forward(self, **features):
            inputs = {name: features[name].numpy() for name in names}
            return BaseModelOutput(last_hidden_state=torch.from_numpy(session.run(None, inputs)[0]))

    model[0].model = Graph()
    return model.encode


def openvino(threads, file):
    from sentence_transformers import SentenceTransformer

    config = {"INFERENCE_NUM_THREADS": str(threads), "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    arguments = {"file_name": file, "ov_config": config}
    return SentenceTransformer(str(PEERS / "openvino"), device="cpu", backend="openvino", model_kwargs=arguments).encode


def fastembed(threads):
    import numpy
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="local", pooling=PoolingType.MEAN, normalization=True, dim=384, model_file="model.onnx",
        sources=ModelSource(hf="local/local"))
    model = TextEmbedding("local", specific_model_path=str(PEERS / "onnx"), threads=threads)
    return lambda texts, batch_size, **_: numpy.array(list(model.embed(texts, batch_size=batch_size)))


PYTHON_PEERS = {
    "torch-f32": ("sentence-transformers, torch, f32", torch_f32),
    "onnx-f32": ("sentence-transformers, ONNX Runtime, f32", lambda threads: onnx(threads, "model.onnx")),
    "onnx-int8": ("sentence-transformers, ONNX Runtime, int8",
                  lambda threads: onnx(threads, "model_int8.onnx")),
    "openvino-f32": ("sentence-transformers, OpenVINO, f32",
                     lambda threads: openvino(threads, "openvino/openvino_model.xml")),
    "openvino-int8": ("sentence-transformers, OpenVINO, int8",
                      lambda threads: openvino(threads, "openvino/openvino_model_int8.xml")),
    "fastembed-f32": ("fastembed, ONNX Runtime, f32", fastembed),
}
SEMBLA_PEERS = {"sembla-f32": ("sembla embed, f32", "f32"), "sembla-q8": ("sembla embed, q8", "q8")}


def prepare_onnx(isa):
    """The f32 graph in ONNX's own operators, and the same with dynamic int8 as optimum has it for this processor."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder = PEERS / "onnx"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(pathlib.Path(model_folder()) / name, folder / name)
    subprocess.run([SEMBLA, "models", "export", model_folder(), str(folder / "model.onnx")], check=True, cwd=ROOT)
    narrow = isa == "avx2"
    quantize_dynamic(folder / "model.onnx", folder / "model_int8.onnx", reduce_range=narrow,
                     weight_type=QuantType.QUInt8 if narrow else QuantType.QInt8)


def prepare_openvino(_isa):
    """The f32 graph, and one with static int8 weights and activations by NNCF's preset for transformers."""
    import nncf
    import openvino
    from sentence_transformers import SentenceTransformer

    folder = PEERS / "openvino"
    shutil.rmtree(folder, ignore_errors=True)
    model = SentenceTransformer(model_folder(), device="cpu", backend="openvino", model_kwargs={"export": True})
    model.save_pretrained(str(folder))
    tokenizer, texts = model.tokenizer, make_texts(CALIBRATION_TEXTS)
    network = openvino.Core().read_model(folder / "openvino" / "openvino_model.xml")
    names = {name for port in network.inputs for name in port.get_names()}

    def inputs(text):
        tokens = tokenizer(text, return_tensors="np", truncation=True, max_length=256)
        return {name: values for name, values in tokens.items() if name in names}

    small = nncf.quantize(network, nncf.Dataset(texts, inputs), model_type=nncf.ModelType.TRANSFORMER,
                          subset_size=CALIBRATION_TEXTS)
    openvino.save_model(small, folder / "openvino" / "openvino_model_int8.xml")


def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


PREPARED = {
    "onnx": (prepare_onnx, PEERS / "onnx" / "model_int8.onnx"),
    "openvino": (prepare_openvino, PEERS / "openvino" / "openvino" / "openvino_model_int8.xml"),
}


def interpreter(name, arguments):
    return arguments.openvino_python if name.startswith("openvino") else sys.executable


def prepare(names, arguments):
    """Makes the graphs that peers run, where they are not there."""
    PEERS.mkdir(parents=True, exist_ok=True)
    for tool, (_, made) in PREPARED.items():
        wanted = any(name.startswith(tool) or (tool == "onnx" and name.startswith("fastembed")) for name in names)
        if wanted and not made.exists():
            command = [interpreter(tool, arguments), __file__, "--prepare", tool, "--isa", arguments.isa]
            subprocess.run(command, check=True, stdout=sys.stderr)


def child(arguments):
    """One peer in Python: loads, warms up, encodes, tells its figures on the last line of standard error."""
    import numpy

    texts = read_texts(arguments.texts)
    encode = PYTHON_PEERS[arguments.child][1](arguments.threads)
    encode(texts[:BATCH], batch_size=BATCH, show_progress_bar=False)
    begun, before = time.monotonic(), used()
    vectors = encode(texts, batch_size=BATCH, show_progress_bar=False)
    figures = {"encode": time.monotonic() - begun, "processor": used() - before}
    numpy.save(PEERS / f"{arguments.child}.npy", vectors)
    print(json.dumps(figures), file=sys.stderr)


def environment(isa, threads):
    more = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    if isa == "avx2":
        more |= {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
                 "MKL_ENABLE_INSTRUCTIONS": "AVX2", "SEMBLA_CPU": "avx2",
                 "ORT_DYLIB_PATH": str(onnxruntime_avx2.library(RUNTIME, NARROW)), "PYTHONPATH": str(NARROW)}
    return dict(os.environ, **more)


def run_python(name, texts, arguments):
    threads, isa = arguments.threads, arguments.isa
    command = [interpreter(name, arguments), __file__, "--child", name, "--texts", str(texts),
               "--threads", str(threads)]
    process = subprocess.Popen(command, env=environment(isa, threads), stderr=subprocess.PIPE, text=True)
    words = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        print(f"{name} failed: {words.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    figures = json.loads([line for line in words.splitlines() if line.startswith("{")][-1])
    return figures | {"memory": usage.ru_maxrss / 1024}


def run_sembla(name, texts, arguments):
    """The command with all texts less the command with one, which starts and loads."""
    one = PEERS / "one.jsonl"
    write_texts(one, read_texts(texts)[:1])
    figures = {}
    for key, source, out in (("loaded", one, PEERS / "one.npy"), ("whole", texts, PEERS / f"{name}.npy")):
        command = [SEMBLA, "embed", str(source), "-o", str(out), "--column", "text", "--overwrite", "--restart",
                   "-m", model_folder(), "--precision", SEMBLA_PEERS[name][1], "--workers", str(arguments.threads)]
        begun = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT,
                                   env=environment(arguments.isa, arguments.threads))
        words = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            print(f"{name} failed: {words.strip()}", file=sys.stderr)
            return None
        figures[key] = (time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
    (load_seconds, load_processor, _), (seconds, processor, memory) = figures["loaded"], figures["whole"]
    return {"encode": seconds - load_seconds, "processor": processor - load_processor, "memory": memory}


def vectors(name):
    import numpy

    return numpy.load(PEERS / f"{name}.npy")


def report(results, arguments):
    import numpy

    labels = {name: label for name, (label, _) in (PYTHON_PEERS | SEMBLA_PEERS).items()}
    measured = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
                for name, runs in results.items() if runs}
    base = measured.get("torch-f32")
    reference = vectors("torch-f32") if base else None
    print(f"{arguments.rows:,} texts of mixed length, all-MiniLM-L6-v2, {arguments.threads} cores, {arguments.isa}, "
          f"median of {arguments.runs} run(s)\n")
    print("| | encode s | texts/s | speed-up | processor s | speed-up | peak MiB | cosine to torch: mean | least |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, row in sorted(measured.items(), key=lambda item: -item[1]["encode"]):
        gain = {key: f"{base[key] / row[key]:.2f}×" if base else "" for key in ("encode", "processor")}
        cells = [labels[name], f"{row['encode']:.1f}", f"{arguments.rows / row['encode']:.0f}", gain["encode"],
                 f"{row['processor']:.1f}", gain["processor"], f"{row['memory']:.0f}"]
        if reference is not None:
            own = vectors(name)
            lengths = numpy.linalg.norm(own, axis=1) * numpy.linalg.norm(reference, axis=1)
            cosine = (own * reference).sum(axis=1) / lengths
            cells += [f"{cosine.mean():.4f}", f"{cosine.min():.4f}"]
        print("| " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--isa", choices=["avx2", "avx512", "avx512_vnni"], default="avx512_vnni")
    parser.add_argument("--peers", default=",".join(PYTHON_PEERS | SEMBLA_PEERS))
    parser.add_argument("--openvino-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--prepare", choices=PREPARED, help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(arguments)
    if arguments.prepare:
        return PREPARED[arguments.prepare][0](arguments.isa)

    WORK.mkdir(parents=True, exist_ok=True)
    texts = WORK / f"texts-{arguments.rows}.jsonl"
    write_texts(texts, make_texts(arguments.rows))
    names = [name.strip() for name in arguments.peers.split(",")]
    prepare(names, arguments)
    if arguments.isa == "avx2":
        onnxruntime_avx2.python_package(NARROW)
    results = {name: [] for name in names}
    for run in range(arguments.runs):
        # Nobody is always first, or always after the same one.
        for name in names[run % len(names):] + names[:run % len(names)]:
            print(f"run {run + 1} of {arguments.runs}: {name}", file=sys.stderr)
            one = run_python if name in PYTHON_PEERS else run_sembla
            figures = one(name, texts, arguments)
            if figures:
                results[name].append(figures)
    report(results, arguments)


if __name__ == "__main__":
    main()
