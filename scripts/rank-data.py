#!/usr/bin/env python3
"""Makes a suite for `sembla eval` of public data sets that lie in a folder, as their publishers have them.

    scripts/rank-data.py DATA OUT [--rows N]

What is there is taken, the rest is left out:

    stsb/stsb-en-test.csv.gz                  STS benchmark: two sentences and a score, without a heading
    banking77/test.csv                        questions to a bank: text, category
    tatoeba/tatoeba.XXX-eng.{XXX,eng}         sentences and their translations, line by line (deu, fra, cmn)
    cranfield/cran.{all.1400,qry}.xml, cranqrel.trec.txt   abstracts, queries, judgements
    trecqa/dev.csv                            questions with candidate answers: qtext, label, atext

--rows takes about so many rows of the larger ones, evenly; of Cranfield all documents that are relevant to the queries that
are kept, and others up to N.
"""

import argparse
import csv
import gzip
import pathlib
import re


# Of Tatoeba's languages, one of each distance from English: the others add time and say little more.
LANGUAGES = ["deu", "fra", "cmn"]


def write(path, heading, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(heading)
        writer.writerows(rows)


def every(rows, limit):
    """About so many of the rows, evenly."""
    step = 1 if not limit else max(1, -(-len(rows) // limit))
    return rows[::step]


def sts(data, out, limit):
    path = data / "stsb/stsb-en-test.csv.gz"
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            write(out / "stsb.csv", ["sentence1", "sentence2", "score"], csv.reader(file))
        yield "STS-B", "sts", {"data": "stsb.csv"}


def banking(data, out, limit):
    path = data / "banking77/test.csv"
    if path.exists():
        with open(path, encoding="utf-8", newline="") as file:
            rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
        write(out / "banking77.csv", ["text", "label"], every(rows, limit))
        yield "banking77", "clustering", {"data": "banking77.csv"}


def tatoeba(data, out, limit):
    for path in sorted((data / "tatoeba").glob("tatoeba.*-eng.eng")):
        language = path.name.split(".")[1].split("-")[0]
        if language not in LANGUAGES:
            continue
        other = path.with_suffix("." + language)
        rows = zip(other.read_text(encoding="utf-8").splitlines(), path.read_text(encoding="utf-8").splitlines())
        write(out / f"tatoeba-{language}.csv", ["sentence1", "sentence2"], rows)
        yield f"Tatoeba {language}", "bitext", {"data": f"tatoeba-{language}.csv"}


def cranfield(data, out, limit):
    folder = data / "cranfield"
    if not (folder / "cran.all.1400.xml").exists():
        return
    one_line = lambda text: " ".join(text.split())
    find = lambda name, text: one_line("".join(re.findall(f"<{name}>(.*?)</{name}>", text, re.S)))
    documents = re.findall("<doc>(.*?)</doc>", (folder / "cran.all.1400.xml").read_text(), re.S)
    documents = [(find("docno", text), find("title", text), find("text", text)) for text in documents]
    queries = re.findall("<top>(.*?)</top>", (folder / "cran.qry.xml").read_text(), re.S)
    # Judgements number the queries by their place, not by <num>.
    queries = [(str(number), find("title", text)) for number, text in enumerate(queries, 1)]
    judged = [line.split() for line in (folder / "cranqrel.trec.txt").read_text().splitlines() if line.strip()]
    relevant = [(query, document, 1) for query, _, document, grade in judged if int(grade) > 0]
    if limit:
        queries = every(queries, max(1, limit // 10))
        kept = {query for query, _ in queries}
        relevant = [row for row in relevant if row[0] in kept]
        needed = {document for _, document, _ in relevant}
        others = [row for row in documents if row[0] not in needed]
        extra = {row[0] for row in every(others, max(1, limit - len(needed)))}
        documents = [row for row in documents if row[0] in needed or row[0] in extra]
    write(out / "cranfield-queries.csv", ["id", "text"], queries)
    write(out / "cranfield-corpus.csv", ["id", "title", "text"], documents)
    write(out / "cranfield-relevant.csv", ["query_id", "corpus_id", "score"], relevant)
    tables = {part: f"cranfield-{part}.csv" for part in ["queries", "corpus", "relevant"]}
    yield "Cranfield", "retrieval", tables


def trecqa(data, out, limit):
    path = data / "trecqa/dev.csv"
    if path.exists():
        with open(path, encoding="utf-8", newline="") as file:
            rows = [(row["qtext"], row["atext"], row["label"]) for row in csv.DictReader(file)]
        # Candidates of a question stay together.
        write(out / "trecqa.csv", ["query", "document", "label"], rows)
        yield "TrecQA", "rerank", {"data": "trecqa.csv"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = ""
    for make in [sts, banking, tatoeba, cranfield, trecqa]:
        for name, kind, tables in make(arguments.data, arguments.out, arguments.rows):
            lines = "".join(f'{part} = "{file}"\n' for part, file in tables.items())
            text += f'[[task]]\nname = "{name}"\nkind = "{kind}"\n{lines}\n'
    if not text:
        raise SystemExit(f"{arguments.data} has none of the data sets; see the head of {__file__}")
    (arguments.out / "suite.toml").write_text(text)


if __name__ == "__main__":
    main()
