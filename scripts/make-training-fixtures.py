#!/usr/bin/env python3
"""Writes what the Python libraries compute of losses, gradients and optimiser steps, for the tests of training/.

    pip install torch==2.15.0 transformers==5.24.0 sentence-transformers==6.2.0
    python scripts/make-training-fixtures.py [FOLDER]

The models are the tiny random ones in models/tests/fixtures (see make-fixtures.py). Of each gradient the file has its
length, its dot product with a fixed vector and a few values, which is enough to notice any difference. Numbers of the
inputs are made by formulas, so that they are the same everywhere.
"""

import json
import math
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.losses.matryoshka import shrink

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = ROOT / "models/tests/fixtures"
TEXTS = [
    "The cat sat on the mat.",
    "two dogs ran fast in the snow",
    "Where is my refund? My card was lost at night, please help me!",
    "unknown words: zebra cats",
    "london",
]
PAIRS = [
    ("where is my refund", "The refund is late."),
    ("cat", "two dogs ran in the park, the cat sat on a mat and was not helping"),
    ("my card was lost", "my card was lost"),
]
ENCODERS = ["bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "st-old", "st-new"]
CLASSIFIERS = ["bert-classifier", "roberta-classifier", "distilbert-classifier", "mpnet-classifier"]
SAMPLES = 4


def weight(row, column):
    """What the result at a place is multiplied by; the loss is the sum."""
    return math.sin(1.0 + row + 0.37 * column)


def summary(values):
    """The length of a gradient, its product with a fixed vector, and a few values."""
    values = values.detach().double().flatten()
    places = torch.arange(values.numel(), dtype=torch.float64)
    step = max(values.numel() // SAMPLES, 1)
    return {
        "size": values.numel(),
        "norm": values.norm().item(),
        "projection": (values * torch.sin(0.7 * places + 0.3)).sum().item(),
        "samples": values[::step][:SAMPLES].tolist(),
    }


def weighted(results):
    rows, columns = results.shape
    factors = torch.tensor([[weight(row, column) for column in range(columns)] for row in range(rows)])
    return (results * factors).sum()


def gradients(model, results):
    model.zero_grad()
    loss = weighted(results)
    loss.backward()
    named = {
        name: summary(parameter.grad)
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return {"loss": loss.item(), "gradients": named}


def encoder(name):
    folder = MODELS / name
    if (folder / "modules.json").exists():
        model = SentenceTransformer(str(folder), device="cpu").eval().float()
        inputs = model.tokenize(TEXTS) if not hasattr(model, "preprocess") else model.preprocess(TEXTS)
        return gradients(model, model(inputs)["sentence_embedding"])
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    words = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    inputs = words(TEXTS, return_tensors="pt", padding=True)
    vectors = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1).float()
    return gradients(model, (vectors * mask).sum(1) / mask.sum(1))


def classifier(name):
    folder = MODELS / name
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    words = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    inputs = words([a for a, _ in PAIRS], [b for _, b in PAIRS], return_tensors="pt", padding=True)
    return gradients(model, model(**inputs).logits)


ROWS, WIDTH = 6, 8


def column(number, rows=ROWS, width=WIDTH):
    """A column of made-up vectors."""
    values = [
        [math.sin(1.0 + 0.9 * row + 1.7 * place + 2.3 * number) + 0.1 * number for place in range(width)]
        for row in range(rows)
    ]
    return torch.tensor(values, dtype=torch.float32, requires_grad=True)


SCORES = [0.9, 0.1, 0.5, 0.5, 0.3, 1.0]
BINARY = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
CLASSES = [0, 1, 0, 2, 1, 0]
MARGINS = [[0.5, -0.2], [0.1, 0.3], [1.0, 0.0], [-0.4, 0.2], [0.0, 0.6], [0.7, -0.7]]


def loss_case(name, columns, loss, labels=None, options=None, dimensions=None):
    columns = [column(number) for number in range(columns)]
    target = torch.tensor(labels) if labels is not None else torch.zeros(ROWS)
    if dimensions:
        value = sum(loss.compute_loss_from_embeddings([shrink(c, d) for c in columns], target) for d in dimensions)
    else:
        value = loss.compute_loss_from_embeddings(columns, target)
    value.backward()
    return {
        "loss": name,
        "columns": len(columns),
        "labels": labels,
        "options": options or {},
        "dimensions": dimensions,
        "value": value.item(),
        "gradients": [c.grad.flatten().tolist() for c in columns],
    }


def score_case(name, loss):
    logits = column(0, width=1)
    value = loss(logits.view(-1), torch.tensor(SCORES))
    value.backward()
    return {
        "loss": name, "columns": 1, "width": 1, "labels": SCORES, "options": {}, "dimensions": None,
        "value": value.item(), "gradients": [logits.grad.flatten().tolist()],
    }


def mse_case():
    vectors, target = column(0), column(3).detach()
    value = torch.nn.functional.mse_loss(vectors, target)
    value.backward()
    return {
        "loss": "mse", "columns": 1, "labels": None, "options": {}, "dimensions": None, "vectors": 3,
        "value": value.item(), "gradients": [vectors.grad.flatten().tolist()],
    }


def all_losses():
    model = SentenceTransformer(str(MODELS / "st-old"), device="cpu")
    ranking = losses.MultipleNegativesRankingLoss(model)
    return [
        loss_case("mnrl", 2, ranking),
        loss_case("mnrl", 4, ranking),
        loss_case("mnrl", 3, losses.MultipleNegativesRankingLoss(model, scale=7.0), options={"scale": 7.0}),
        loss_case("mnrl", 2, ranking, dimensions=[8, 4, 2]),
        loss_case("cosent", 2, losses.CoSENTLoss(model), SCORES),
        loss_case("cosent", 2, losses.CoSENTLoss(model), SCORES, dimensions=[8, 3]),
        loss_case("cosine", 2, losses.CosineSimilarityLoss(model), SCORES),
        loss_case("triplet", 3, losses.TripletLoss(model)),
        loss_case("triplet", 3, losses.TripletLoss(model, triplet_margin=0.5), options={"margin": 0.5}),
        loss_case("batch_all_triplet", 1, losses.BatchAllTripletLoss(model), CLASSES),
        loss_case("batch_all_triplet", 1, losses.BatchAllTripletLoss(model, margin=0.3), CLASSES, {"margin": 0.3}),
        loss_case("contrastive", 2, losses.ContrastiveLoss(model), BINARY),
        loss_case("contrastive", 2, losses.ContrastiveLoss(model, margin=1.5), BINARY, {"margin": 1.5}),
        loss_case("online_contrastive", 2, losses.OnlineContrastiveLoss(model), BINARY),
        loss_case("online_contrastive", 2, losses.OnlineContrastiveLoss(model, margin=1.5), BINARY, {"margin": 1.5}),
        loss_case("margin_mse", 4, losses.MarginMSELoss(model), MARGINS),
        loss_case("distil_kl", 3, losses.DistillKLDivLoss(model), MARGINS),
        mse_case(),
        score_case("bce", torch.nn.BCEWithLogitsLoss()),
        score_case("score_mse", torch.nn.MSELoss()),
    ]


def optimiser(schedule):
    """Steps of AdamW with warm-up and clipping, as the trainer of transformers takes them."""
    values = torch.nn.Parameter(torch.tensor([[math.sin(1.0 + row + place) for place in range(3)] for row in range(4)]))
    bias = torch.nn.Parameter(torch.tensor([0.5, -0.5]))
    groups = [{"params": [values], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.999), eps=1e-8)
    steps = 12
    lrs = transformers.get_scheduler(schedule, adam, num_warmup_steps=3, num_training_steps=steps)
    rates = []
    for step in range(steps):
        # Some rows have no gradient in some steps, as rows of a table of words.
        values.grad = torch.zeros_like(values)
        for row in range(4):
            if (step + row) % 3 != 0 and row < 3:
                for place in range(3):
                    values.grad[row, place] = math.cos(step + 2.0 * row + place)
        bias.grad = torch.tensor([math.cos(step), 3.0 * math.sin(step)])
        torch.nn.utils.clip_grad_norm_([values, bias], 1.0)
        rates.append(lrs.get_last_lr()[0])
        adam.step()
        lrs.step()
    return {"rates": rates, "values": values.detach().flatten().tolist(), "bias": bias.detach().tolist()}


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "training/tests/fixtures"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    found = {
        "texts": TEXTS,
        "pairs": PAIRS,
        "encoders": {name: encoder(name) for name in ENCODERS},
        "classifiers": {name: classifier(name) for name in CLASSIFIERS},
    }
    (folder / "gradients.json").write_text(json.dumps(found) + "\n")
    (folder / "losses.json").write_text(json.dumps({"rows": ROWS, "width": WIDTH, "cases": all_losses()}) + "\n")
    steps = {name: optimiser(name) for name in ["linear", "cosine"]}
    (folder / "optimiser.json").write_text(json.dumps(steps) + "\n")


main()
