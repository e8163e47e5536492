#!/usr/bin/env python3
"""Writes what the Python libraries say of smaller models, for the tests of training/: models with some of their layers
(transformers), principal components (scikit-learn), static models (model2vec).

    pip install torch==2.15.0 transformers==5.24.0 sentence-transformers==6.2.0 scikit-learn==1.9.1 model2vec==0.10.0
    python scripts/make-student-fixtures.py [FILE]

The models are the tiny random ones in models/tests/fixtures (see make-fixtures.py).
"""

import json
import math
import os
import pathlib
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy
import torch
import transformers
from model2vec.distill import distill_from_model
from sentence_transformers import SentenceTransformer
from sklearn.decomposition import PCA

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = ROOT / "models/tests/fixtures"
TEXTS = [
    "The cat sat on the mat.",
    "two dogs ran fast in the snow",
    "Where is my refund? My card was lost at night, please help me!",
    "unknown words: zebra cats",
    "london",
]
ENCODERS = ["bert", "roberta", "distilbert", "mpnet", "st-old"]
STATIC = ["bert", "mpnet", "distilbert"]
ROWS, WIDTH, COUNT = 60, 8, 3


def layer_one(name):
    """Vectors of a model that keeps its second layer alone."""
    model = SentenceTransformer(str(MODELS / name), device="cpu", model_kwargs={"dtype": torch.float32})
    body = model[0].auto_model
    layers = body.transformer.layer if name == "distilbert" else body.encoder.layer
    kept = torch.nn.ModuleList([layers[1]])
    if name == "distilbert":
        body.transformer.layer = kept
    else:
        body.encoder.layer = kept
    return model.encode(TEXTS, prompt="").tolist()


def components():
    """Principal components of made-up vectors."""
    value = lambda row, place: math.sin(1.0 + 0.9 * row + 1.7 * place) * (1.0 + place) + 0.1 * row
    vectors = numpy.array([[value(row, place) for place in range(WIDTH)] for row in range(ROWS)], dtype=numpy.float32)
    pca = PCA(COUNT, svd_solver="full").fit(vectors.astype(numpy.float64))
    return {
        "rows": ROWS,
        "width": WIDTH,
        "components": pca.components_.tolist(),
        "mean": pca.mean_.tolist(),
        "explained": float(pca.explained_variance_ratio_.sum()),
    }


def static(name):
    """A static model of all tokens: its vectors, and those of texts."""
    with tempfile.TemporaryDirectory() as folder:
        body = transformers.AutoModel.from_pretrained(MODELS / name, dtype=torch.float32)
        words = transformers.AutoTokenizer.from_pretrained(MODELS / name)
        model = distill_from_model(body, words, pca_dims=WIDTH, quantize_to="float32", device="cpu")
        model.save_pretrained(folder)
        tokenizer = json.loads((pathlib.Path(folder) / "tokenizer.json").read_text())
    tokens = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    return {"tokens": tokens, "embeddings": model.embedding.tolist(), "vectors": model.encode(TEXTS).tolist()}


def main():
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "training/tests/fixtures/students.json"
    torch.set_num_threads(1)
    found = {
        "texts": TEXTS,
        "layer_one": {name: layer_one(name) for name in ENCODERS},
        "pca": components(),
        "static": {name: static(name) for name in STATIC},
    }
    shorten = lambda value: (
        {key: shorten(item) for key, item in value.items()}
        if isinstance(value, dict)
        else [shorten(item) for item in value]
        if isinstance(value, list)
        else float(f"{value:.9g}") if isinstance(value, float) else value
    )
    path.write_text(json.dumps(shorten(found)) + "\n")


main()
