#!/usr/bin/env python3
"""Writes the figures that the ranking of models and `hard_negatives` are tested against.

    pip install mteb==2.26.24 sentence-transformers==6.2.0 datasets pytrec-eval-terrier
    scripts/make-eval-fixtures.py

`jobs/tests/fixtures/eval.json` has small made-up vectors, and what MTEB's evaluators say of them: no model and no data set is
fetched. `tests/sql/fixtures/hard_negatives.json` has vectors, options and the rows that sentence-transformers mines.
"""

import json
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
DIMENSION = 12


def vectors(random, rows, spread=1.0, around=None):
    noise = random.normal(size=(rows, DIMENSION))
    around = random.normal(size=(rows, DIMENSION)) if around is None else around
    # Few digits, so that the file is small; enough of them that no two distances are equal but for rounding.
    return np.round(around + spread * noise, 4).astype(np.float32)


class Model:
    """An encoder whose texts are the numbers of vectors."""

    def __init__(self, table, similarity):
        from sentence_transformers.util import SimilarityFunction

        self.table = table
        self.similarity = SimilarityFunction.to_similarity_fn(similarity)
        self.similarity_pairwise = SimilarityFunction.to_similarity_pairwise_fn(similarity)

    def encode(self, inputs, **_):
        return np.stack([self.table[int(text)] for batch in inputs for text in batch["text"]])


def data(columns):
    from datasets import Dataset

    return Dataset.from_dict(columns)


def arguments():
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.timing import TimingStack

    metadata = TaskMetadata.model_construct(name="Local", modalities=["text"], type="STS", prompt=None)
    return {"task_metadata": metadata, "hf_split": "test", "hf_subset": "default", "timer": TimingStack()}


def names(start, rows):
    return [str(row) for row in range(start, start + rows)]


def pair_scores(random, similarity):
    """STS and pair classification."""
    from mteb._evaluators import AnySTSEvaluator, PairClassificationEvaluator
    from mteb.abstasks.pair_classification import AbsTaskPairClassification
    from mteb.abstasks.sts import AbsTaskSTS

    rows = 60
    a = vectors(random, rows)
    b = vectors(random, rows, spread=1.0, around=a)
    gold = np.round(random.uniform(size=rows) * 5, 1).tolist()
    labels = (random.uniform(size=rows) < 0.4).astype(int).tolist()
    model = Model(np.concatenate([a, b]), similarity)
    table = data({"text1": names(0, rows), "text2": names(rows, rows)})
    common = arguments()
    prompts = {"input1_prompt_type": None, "input2_prompt_type": None}
    sts = AnySTSEvaluator(table, ("text1", "text2"), **prompts, **common)
    sts = sts(model, encode_kwargs={"batch_size": 16})
    spearman = AbsTaskSTS._calculate_scores(None, sts, gold)["spearman"]
    pairs = PairClassificationEvaluator(
        table, input1_column_name="text1", input2_column_name="text2", **prompts, **common
    )
    pairs = pairs(model, encode_kwargs={"batch_size": 16})
    from sklearn.metrics import average_precision_score

    return {
        "similarity": similarity,
        "a": a.tolist(),
        "b": b.tolist(),
        "scores": gold,
        "labels": labels,
        "spearman": spearman,
        "ap": float(average_precision_score(labels, pairs["similarity_scores"])),
    }


def clustering(random):
    from mteb._evaluators import ClusteringEvaluator
    from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy

    labels = random.randint(0, 6, 150)
    x = vectors(random, 150, spread=1.2, around=random.normal(size=(6, DIMENSION))[labels])
    evaluator = ClusteringEvaluator(
        data({"text": names(0, 150), "labels": labels.tolist()}),
        input_column_name="text",
        label_column_name="labels",
        **arguments(),
    )
    found = evaluator(Model(x, "cosine"), encode_kwargs={"batch_size": 32})
    score = AbsTaskClusteringLegacy._compute_metrics(None, labels.tolist(), found)
    return {"vectors": x.tolist(), "labels": labels.tolist(), "v_measure": score["v_measure"]}


def bitext(random, similarity):
    from mteb._evaluators.text.bitext_mining_evaluator import BitextMiningEvaluator
    from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining

    rows = 50
    a = vectors(random, rows)
    b = vectors(random, rows, spread=0.9, around=a)
    evaluator = BitextMiningEvaluator(
        data({"sentence1": names(0, rows), "sentence2": names(rows, rows)}),
        pair_columns=[("sentence1", "sentence2")],
        **arguments(),
    )
    found = evaluator(Model(np.concatenate([a, b]), similarity), encode_kwargs={"batch_size": 16})
    gold = [(row, row) for row in range(rows)]
    score = AbsTaskBitextMining._compute_metrics(None, found["sentence1-sentence2"], gold)
    return {"similarity": similarity, "a": a.tolist(), "b": b.tolist(), "f1": float(score["f1"])}


def searches(random, similarity):
    """Retrieval over a corpus, and re-ranking of each query's own candidates."""
    import torch
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores

    queries, documents = 25, 120
    corpus = vectors(random, documents)
    answers = random.randint(0, documents, queries)
    asked = vectors(random, queries, spread=1.1, around=corpus[answers])
    qrels, own = {}, {}
    for query, answer in enumerate(answers):
        more = random.choice(documents, 4, replace=False)
        qrels[str(query)] = {str(answer): 2, **{str(row): int(grade) for row, grade in zip(more, [1, 0, 2, 1]) if row != answer}}
        candidates = [answer, *[row for row in random.choice(documents, 12, replace=False) if row != answer]]
        own[str(query)] = {str(row): int(row == answer or random.uniform() < 0.2) for row in candidates}
    scores = Model(corpus, similarity).similarity(torch.tensor(asked), torch.tensor(corpus)).numpy()
    ranked = {q: {str(d): float(scores[int(q), d]) for d in range(documents)} for q in qrels}
    picked = {q: {d: float(scores[int(q), int(d)]) for d in rows} for q, rows in own.items()}
    return {
        "similarity": similarity,
        "queries": asked.tolist(),
        "corpus": corpus.tolist(),
        "relevant": [[int(q), int(d), grade] for q, rows in qrels.items() for d, grade in rows.items()],
        "candidates": [[int(q), int(d), label] for q, rows in own.items() for d, label in rows.items()],
        "ndcg_at_10": calculate_retrieval_scores(ranked, qrels, [1, 10]).ndcg["NDCG@10"],
        "map": calculate_retrieval_scores(picked, own, [1, 1000]).map["MAP@1000"],
    }


def classification(random):
    """Ten classifiers on eight texts of each label, which MTEB draws."""
    from mteb._evaluators.sklearn_evaluator import SklearnEvaluator
    from mteb.abstasks.classification import AbsTaskClassification
    from sklearn.metrics import accuracy_score

    centres = random.normal(size=(5, DIMENSION))
    make = lambda labels: vectors(random, len(labels), spread=1.4, around=centres[labels])
    train_labels, test_labels = random.randint(0, 5, 90), random.randint(0, 5, 80)
    train, test = make(train_labels), make(test_labels)
    task = AbsTaskClassification.__new__(AbsTaskClassification)
    task.seed = 42
    table = data({"text": names(0, len(train)), "label": train_labels.tolist()})
    test_table = data({"text": names(0, len(test)), "label": test_labels.tolist()})
    solver = task.evaluator_model.set_params(random_state=42)
    order, accuracies, drawn = None, [], []
    for number in range(task.n_experiments):
        some, order, rows = task._undersample_data(table, number, order)
        evaluator = SklearnEvaluator(some, test_table, label_column_name="label", evaluator_model=solver)
        accuracies.append(float(accuracy_score(test_labels, evaluator(train[rows], test))))
        drawn.append([int(row) for row in rows])
    return {
        "train": train.tolist(),
        "train_labels": train_labels.tolist(),
        "test": test.tolist(),
        "test_labels": test_labels.tolist(),
        "drawn": drawn,
        "accuracies": accuracies,
        "accuracy": float(np.mean(accuracies)),
    }


class Encoder:
    """What `mine_hard_negatives` asks of a model."""

    device = "cpu"

    def __init__(self, queries, corpus):
        from sentence_transformers.util import cos_sim, pairwise_cos_sim

        self.queries, self.corpus = queries, corpus
        self.similarity, self.similarity_pairwise = cos_sim, pairwise_cos_sim

    def encode(self, table, texts):
        x = np.stack([table[text] for text in texts])
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def encode_query(self, texts, **_):
        return self.encode(self.queries, texts)

    def encode_document(self, texts, **_):
        return self.encode(self.corpus, texts)


def hard_negatives(random):
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    queries, documents = 12, 40
    corpus = vectors(random, documents)
    answers = random.randint(0, documents, queries)
    asked = vectors(random, queries, spread=0.8, around=corpus[answers])
    positives = [(query, int(answer)) for query, answer in enumerate(answers)]
    # Two positives for some queries, one pair twice.
    positives += [(0, 3), (4, 17), (4, 5), positives[1]]
    names_of = {"queries": [f"q{n}" for n in range(queries)], "corpus": [f"d{n}" for n in range(documents)]}
    model = Encoder(dict(zip(names_of["queries"], asked)), dict(zip(names_of["corpus"], corpus)))
    table = Dataset.from_dict({"anchor": [f"q{q}" for q, _ in positives], "positive": [f"d{d}" for _, d in positives]})
    cases = []
    for options in [
        {},
        {"num_negatives": 5, "range_min": 2},
        {"num_negatives": 2, "range_min": 1, "range_max": 6, "max_score": 0.5},
        {"absolute_margin": 0.2},
        {"relative_margin": 0.3, "num_negatives": 4, "output_format": "n-tuple"},
        {"relative_margin": 0.05, "min_score": 0.1, "output_format": "labeled-pair"},
        {"max_score": 0.45, "min_score": 0.25, "num_negatives": 3, "output_format": "n-tuple", "output_scores": True},
        {"absolute_margin": 0.0, "output_format": "labeled-pair", "output_scores": True},
        {"num_negatives": 2, "output_scores": True},
    ]:
        mined = mine_hard_negatives(table, model, corpus=names_of["corpus"], verbose=False, **options)
        cases.append({"options": options, "columns": mined.column_names, "rows": [list(row.values()) for row in mined]})
    return {
        "queries": asked.tolist(),
        "corpus": corpus.tolist(),
        "positives": [list(pair) for pair in positives],
        "cases": cases,
    }


def write(path, value):
    path = ROOT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")
    print(path, path.stat().st_size, "bytes")


def rounded(value):
    """Vectors have four digits, which float32 made long."""
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: rounded(item) if isinstance(item, list) and key in VECTORS else item for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


VECTORS = {"a", "b", "vectors", "queries", "corpus", "train", "test"}


def main():
    random = np.random.RandomState(7)
    evaluated = {
        "pairs": [rounded(pair_scores(random, name)) for name in ["cosine", "dot", "euclidean", "manhattan"]],
        "clustering": rounded(clustering(random)),
        "bitext": [rounded(bitext(random, name)) for name in ["cosine", "dot"]],
        "searches": [rounded(searches(random, name)) for name in ["cosine", "dot", "euclidean"]],
        "classification": rounded(classification(random)),
    }
    write("jobs/tests/fixtures/eval.json", evaluated)
    write("tests/sql/fixtures/hard_negatives.json", rounded(hard_negatives(random)))


if __name__ == "__main__":
    main()
