"""What benches/gpu.sh does in Python, with the standard library alone but for sentence-transformers, where that is installed.

    gpu.py texts FOLDER TOKENS LENGTH...     files of distinct texts of so many tokens, special ones included
    gpu.py models FOLDER LAYERS              a directory for each model; 0 layers are as many as the model has
    gpu.py run PROGRAM MODEL ARGUMENT...     runs `throughput`, and adds the arguments to each line of JSON
    gpu.py peer MODEL DEVICE RUNS FILE...    sentence-transformers, in fp16 on a GPU
    gpu.py note KIND WHAT WHY                a line on something that did not run
    gpu.py join WORK DEVICE SECONDS OUT      one JSON of all lines
"""
import array
import json
import os
import pathlib
import platform
import random
import shutil
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
REAL = ROOT / ".sembla" / "models"
# Each is one token of BERT's vocabulary.
WORDS = """time people way water day part place case week company system program question work government number night point home
room mother area money story fact month lot right study book eye job word business issue side kind head house service friend father
power hour game line end member law car city community name president team minute idea kid body information""".split()
SHAPES = {
    "all-MiniLM-L6-v2": ("bert", 384, 6, 12, 1536, "mean"),
    "bge-small-en-v1.5": ("bert", 384, 12, 12, 1536, "cls"),
    "all-mpnet-base-v2": ("mpnet", 768, 12, 12, 3072, "mean"),
}
# The least that 16 bits must reach, as a cosine to the processor's vectors.
NEAR = {"f16": 0.9999, "f32": 0.999999}


def texts(folder, tokens, *lengths):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    words = random.Random(1)
    for length in map(int, lengths):
        rows = max(4, int(tokens) // length)
        lines = {" ".join(words.choices(WORDS, k=length - 2)) for _ in range(rows)}
        (folder / f"{length}.txt").write_text("\n".join(sorted(lines)) + "\n")


def tensors(kind, width, layers, heads, middle):
    """Names and shapes, as the architecture's checkpoints have them."""
    vocabulary, positions = (30527, 514) if kind == "mpnet" else (30522, 512)
    yield "embeddings.word_embeddings.weight", (vocabulary, width)
    yield "embeddings.position_embeddings.weight", (positions, width)
    if kind == "bert":
        yield "embeddings.token_type_embeddings.weight", (2, width)
        projections, output, norm = [f"attention.self.{name}" for name in ("query", "key", "value")], "attention.output.dense", \
            "attention.output.LayerNorm"
    else:
        yield "encoder.relative_attention_bias.weight", (32, heads)
        projections, output, norm = [f"attention.attn.{name}" for name in "qkv"], "attention.attn.o", "attention.LayerNorm"
    norms = ["embeddings.LayerNorm"]
    for layer in range(layers):
        prefix = f"encoder.layer.{layer}."
        for name in [*projections, output]:
            yield f"{prefix}{name}.weight", (width, width)
            yield f"{prefix}{name}.bias", (width,)
        for name, shape in (("intermediate.dense", (middle, width)), ("output.dense", (width, middle))):
            yield f"{prefix}{name}.weight", shape
            yield f"{prefix}{name}.bias", shape[:1]
        norms += [prefix + norm, prefix + "output.LayerNorm"]
    for name in norms:
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)


def write_weights(path, shapes, seed):
    """Gains are 1, shifts 0, the rest normal with a deviation of 0.02: from one block of values, read from changing places."""
    choose = random.Random(seed)
    block = array.array("f", (choose.gauss(0, 0.02) for _ in range(1 << 18)))
    header, offset, shapes = {}, 0, list(shapes)
    for name, shape in shapes:
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + 4 * count]}
        offset += 4 * count
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, entry in header.items():
            count = (entry["data_offsets"][1] - entry["data_offsets"][0]) // 4
            if "LayerNorm" in name:
                file.write(array.array("f", [float(name.endswith("weight"))] * count).tobytes())
                continue
            while count > 0:
                start = choose.randrange(len(block))
                part = block[start:start + count]
                file.write(part.tobytes())
                count -= len(part)


def write_model(folder, name, layers):
    kind, width, own, heads, middle, pooling = SHAPES[name]
    layers = layers or own
    base = REAL / "all-MiniLM-L6-v2"
    if not base.is_dir():
        base = ROOT / "models" / "builtin" / "all-MiniLM-L6-v2-q8"
    folder.mkdir(parents=True)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (base / file).exists():
            shutil.copy(base / file, folder / file)
    config = {
        "model_type": kind, "architectures": ["MPNetModel" if kind == "mpnet" else "BertModel"], "hidden_size": width,
        "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": middle, "hidden_act": "gelu",
        "layer_norm_eps": 1e-5 if kind == "mpnet" else 1e-12, "type_vocab_size": 2, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0, "vocab_size": 30527 if kind == "mpnet" else 30522,
        "max_position_embeddings": 514 if kind == "mpnet" else 512, "relative_attention_num_buckets": 32,
        "pad_token_id": 1 if kind == "mpnet" else 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    (folder / "modules.json").write_text(json.dumps([
        {"idx": int(number), "name": number, "path": path, "type": f"sentence_transformers.models.{module}"}
        for number, path, module in modules]))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 512, "do_lower_case": False}))
    (folder / "2_Normalize").mkdir()
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({
        "word_embedding_dimension": width, "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False}))
    write_weights(folder / "model.safetensors", tensors(kind, width, layers, heads, middle), name)


def models(folder, layers):
    folder, layers = pathlib.Path(folder), int(layers)
    for name in SHAPES:
        real = REAL / name
        if real.is_dir() and not layers:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(real)
        else:
            write_model(folder / name, name, layers)


def run(program, model, *arguments):
    # A model's own limit may be below the longest text.
    command = [program, model, "max_length=512", *arguments]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    for line in map(json.loads, lines):
        line |= {"what": "sembla", "padding": options["padding"], "weights": weights(model)}
        print(json.dumps(line))


def weights(model):
    return "published" if pathlib.Path(model).is_symlink() else "random"


def peer(model, device, runs, *files):
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        print(f"sentence-transformers is not installed: {error}", file=sys.stderr)
        sys.exit(1)
    on_gpu = device != "cpu"
    encoder = SentenceTransformer(model, device=device.split(",")[0])
    if on_gpu:
        encoder.half()
    encoder.max_seq_length = 512
    for file in files:
        lines = pathlib.Path(file).read_text().splitlines()
        length = int(pathlib.Path(file).stem)
        batch = max(1, (16384 if on_gpu else 1024) // length)
        encoder.encode(lines[:len(lines) // 8 + 1], batch_size=batch, show_progress_bar=False)
        taken = []
        for _ in range(int(runs)):
            begun = time.monotonic()
            encoder.encode(lines, batch_size=batch, show_progress_bar=False)
            taken.append(time.monotonic() - begun)
        seconds = sorted(taken)[len(taken) // 2]
        print(json.dumps({
            "what": "sentence-transformers", "model": pathlib.Path(model).name, "device": device,
            "precision": "f16" if on_gpu else "f32", "file": file, "texts": len(lines), "tokens": len(lines) * length,
            "seconds": seconds, "texts_per_second": len(lines) / seconds, "tokens_per_second": len(lines) * length / seconds,
            "weights": weights(model)}))


def note(kind, what, why):
    print(json.dumps({"kind": kind, "what": what, "why": why}))


def gpu():
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        return subprocess.run(query, stdout=subprocess.PIPE, check=True, text=True).stdout.strip().splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []


def join(work, device, seconds, out):
    work = pathlib.Path(work)
    measured = [json.loads(line) for line in (work / "measured").read_text().splitlines()]
    notes = [json.loads(line) for line in (work / "notes").read_text().splitlines()]
    for line in measured:
        line["length"] = int(pathlib.Path(line.pop("file")).stem)
        if "cosine_min" in line:
            line["near"] = line["cosine_min"] >= NEAR[line["precision"]]
    result = {
        "device": device, "gpus": gpu(), "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
        "seconds": int(seconds), "measured": measured, "not_measured": notes,
    }
    pathlib.Path(out).write_text(json.dumps(result, indent=1) + "\n")
    far = [line for line in measured if line.get("near") is False]
    failed = [entry["what"] for entry in notes if entry["kind"] == "failed" and "sentence-transformers" not in entry["what"]]
    print(f"{out}: {len(measured)} measurements, {len(notes)} not measured, {len(far)} too far from the processor", file=sys.stderr)
    sys.exit(1 if far or failed or not measured else 0)


if __name__ == "__main__":
    commands = {"texts": texts, "models": models, "run": run, "peer": peer, "note": note, "join": join}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    commands[sys.argv[1]](*sys.argv[2:])
