#!/usr/bin/env python3
"""Images per second: `sembla embed` beside transformers' CLIPModel with its fast processor, in one run.

    pip install torch==2.15.0 torchvision transformers==5.5.4 pillow
    python benches/images_vs_transformers.py [--images 200] [--sembla target/release/sembla] [--threads 2]

The model has the shapes of openai/clip-vit-base-patch32 and random weights; the images are photos of 640 x 480 in JPEG that
the script makes. Both decode, resize, run and give vectors; loading and one warm-up are outside of the time. The cosine of
Sembla's vectors to the library's is printed beside the speed, so that both did the same work.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import transformers
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))
from clip_tokenizer import clip_tokenizer  # noqa: E402


def photos(folder, count):
    """Pictures with slopes, edges and noise, no two alike."""
    rng = np.random.default_rng(1)
    folder.mkdir()
    rows, columns = np.mgrid[0:480, 0:640]
    for number in range(count):
        a, b, c = rng.uniform(0.05, 0.6, 3)
        image = np.stack([columns * a + rows * b, rows * c + 40, (columns + rows) * a / 2], -1) % 256
        for _ in range(12):
            y, x, size = rng.integers(0, 400), rng.integers(0, 560), rng.integers(20, 80)
            image[y:y + size, x:x + size] = rng.integers(0, 256, 3)
        image = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number:05}.jpg", quality=88)
    return sorted(folder.iterdir())


def model(folder):
    """ViT-B/32 and the text tower that goes with it, with random weights."""
    torch.manual_seed(1)
    words = clip_tokenizer(["a photo of a dog", "two cats in the snow"] * 5, 40)
    size = words.get_vocab_size()
    built = transformers.CLIPModel(transformers.CLIPConfig(text_config=dict(vocab_size=size, eos_token_id=size - 1, bos_token_id=size - 2)))
    with torch.no_grad():
        for tensor in built.parameters():
            if tensor.dim() >= 2:
                tensor.normal_(0, 0.04)
    built.save_pretrained(folder)
    words.save(str(folder / "tokenizer.json"))
    processor = transformers.CLIPImageProcessor()
    processor.save_pretrained(folder)
    return built.eval(), processor


def library(net, processor, files, batch):
    """Images per second and vectors of transformers, decoding included."""
    rows, started = [], None
    with torch.inference_mode():
        warm = processor([Image.open(files[0]).convert("RGB")], return_tensors="pt")
        net.get_image_features(**warm)
        started = time.perf_counter()
        for first in range(0, len(files), batch):
            images = [Image.open(file).convert("RGB") for file in files[first:first + batch]]
            found = net.get_image_features(**processor(images, return_tensors="pt"))
            rows.append((found if torch.is_tensor(found) else found.pooler_output).numpy())
    return len(files) / (time.perf_counter() - started), np.concatenate(rows)


def sembla(binary, folder, images, out, precision):
    """The same of `sembla embed`: the rate is that of the query, and loading is not in it."""
    command = [binary, "embed", str(images), "-m", str(folder), "--precision", precision, "-o", str(out), "--overwrite"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        sys.exit(ended.stderr)
    rate = float(re.search(r"([\d,.]+) rows/s", ended.stderr).group(1).replace(",", ""))
    rows = sorted((json.loads(line) for line in out.read_text().splitlines()), key=lambda row: row["path"])
    return rate, np.array([row["embedding"] for row in rows])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--images", type=int, default=200)
    arguments.add_argument("--batch", type=int, default=32)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--sembla", default="target/release/sembla")
    chosen = arguments.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        files = photos(work / "photos", chosen.images)
        net, processor = model(work / "model")
        rate, want = library(net, processor, files, chosen.batch)
        print(f"transformers {transformers.__version__}, fast processor, f32: {rate:.1f} images/s")
        for precision in ("f32", "q8"):
            ours, got = sembla(chosen.sembla, work / "model", work / "photos", work / f"{precision}.ndjson", precision)
            cosines = (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
            print(f"sembla {precision}: {ours:.1f} images/s, {ours / rate:.2f} times as fast, "
                  f"cosine to the library {cosines.mean():.5f} on average, {cosines.min():.5f} at worst")


if __name__ == "__main__":
    main()
