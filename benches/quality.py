"""How good the findings are, on data with known answers. Prints Markdown tables.

    python benches/quality.py search CRANFIELD_FOLDER     nDCG@10 of the ways to search
    python benches/quality.py bitext TATOEBA_FOLDER       F1 of bitext mining, per language
    python benches/quality.py clusters                    ARI and NMI on the 77 intents of examples/data
    python benches/quality.py planted TEXTS [PAIRS.csv]   precision and recall of deduplication, per kind of duplicate

TEXTS and PAIRS are those of scripts/make-planted-duplicates.py. The folders hold `cran.all.1400.xml`, `cran.qry.xml` and `cranqrel.trec.txt`, and `tatoeba.xxx-eng.{xxx,eng}`. Sembla does
all the work through SQL; Python prepares the files. MODEL=path takes another model than minilm.
"""
import csv
import io
import os
import pathlib
import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / ".sembla" / "bench-data"
SEMBLA = os.environ.get("SEMBLA") or str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "sembla")
MODEL = os.environ.get("MODEL", "minilm")
INTENTS = ROOT / "examples" / "data" / "banking77.parquet"


def sql(text):
    """The rows of the last statement."""
    command = [SEMBLA, "sql", "--format", "csv", text]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if process.returncode:
        sys.exit(f"{process.stderr.strip()}\n{text}")
    return list(csv.DictReader(io.StringIO(process.stdout)))


def write(name, columns):
    path = WORK / f"{name}.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def cranfield(folder):
    """Documents (title and text), queries and judgements as Parquet. The judgements count queries from 1 in file order."""
    def spaced(text):
        return " ".join(text.split())

    docs = (folder / "cran.all.1400.xml").read_text(encoding="utf-8", errors="replace")
    docs = re.findall(r"<docno>\s*(\d+)\s*</docno>.*?<text>(.*?)</text>", docs, re.S)
    queries = re.findall(r"<title>(.*?)</title>", (folder / "cran.qry.xml").read_text(), re.S)
    judged = [line.split() for line in (folder / "cranqrel.trec.txt").read_text().splitlines()]
    judged = [(int(query), int(doc)) for query, _, doc, grade in judged if int(grade) > 0]
    return (
        write("cranfield-docs", {"id": [int(i) for i, _ in docs], "text": [spaced(t) for _, t in docs]}),
        write("cranfield-queries", {"id": list(range(1, len(queries) + 1)), "text": [spaced(q) for q in queries]}),
        write("cranfield-judgements", {
            "query_id": [q for q, _ in judged], "id": [d for _, d in judged], "relevance": [1] * len(judged)}),
    )


def search(folder):
    docs, queries, judgements = cranfield(folder)
    index = WORK / "cranfield.index"
    index.unlink(missing_ok=True)
    prepare = (f"CREATE TABLE docs AS SELECT id, text, embed(text, '{MODEL}') AS embedding FROM '{docs}';"
               f"CREATE TABLE queries AS SELECT id, text, embed(text, '{MODEL}') AS embedding FROM '{queries}';")
    vectors = "(SELECT id, embedding FROM docs), queries => (SELECT id, embedding FROM queries)"
    ways = {
        "exact": f"semantic_search({vectors}, top_k => 100)",
        "int8, rescored": f"semantic_search({vectors}, top_k => 100, candidates => 'int8')",
        "binary, rescored": f"semantic_search({vectors}, top_k => 100, candidates => 'binary')",
        "approximate index": "semantic_search(docs_index, queries => (SELECT id, embedding FROM queries), top_k => 100)",
        "BM25": "text_search((SELECT id, text FROM docs), queries => (SELECT id, text FROM queries), top_k => 100)",
        "hybrid": "hybrid_search(docs, queries => queries, top_k => 100)",
    }
    build = f"CREATE INDEX docs_index WITH (path = '{index}') AS SELECT id, embedding FROM docs;"
    print("| search | nDCG@10 | MRR@10 | recall@100 |")
    print("|---|---:|---:|---:|")
    for name, way in ways.items():
        setup = prepare + (build if name == "approximate index" else "")
        found = {}
        for k in (10, 100):
            rows = sql(f"{setup} SELECT * FROM ranking_metrics((SELECT query_id, rank, id FROM {way}), "
                       f"judgements => '{judgements}', k => {k})")
            found |= {row["metric"]: float(row["value"]) for row in rows}
            index.unlink(missing_ok=True)
        print(f"| {name} | {found['ndcg@10']:.4f} | {found['mrr@10']:.4f} | {found['recall@100']:.4f} |")


def bitext(folder):
    print("| language | pairs | precision | recall | F1 |")
    print("|---|---:|---:|---:|---:|")
    for source in sorted(folder.glob("tatoeba.*-eng.???")):
        language = source.name.split(".")[1].split("-")[0]
        if not source.name.endswith(language):
            continue
        sides = [path.read_text(encoding="utf-8").splitlines() for path in (source, source.with_suffix(".eng"))]
        paths = [write(f"tatoeba-{n}", {"id": list(range(len(side))), "text": side}) for n, side in enumerate(sides)]
        rows = sql(f"SELECT count(*) AS found, sum(CASE WHEN id_a = id_b THEN 1 ELSE 0 END) AS hits "
                   f"FROM bitext_mining('{paths[0]}', target => '{paths[1]}', model => '{MODEL}')")
        found, right, total = int(rows[0]["found"]), int(rows[0]["hits"] or 0), len(sides[0])
        precision, recall = right / max(found, 1), right / total
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        print(f"| {language} | {total} | {precision:.3f} | {recall:.3f} | {f1:.3f} |")


def clusters():
    ways = {
        "k-means, k = 77": "algorithm => 'kmeans', k => 77",
        "mini-batch k-means, k = 77": "algorithm => 'minibatch', k => 77",
        "agglomerative, average, k = 77": "algorithm => 'agglomerative', k => 77",
        "agglomerative, Ward, k = 77": "algorithm => 'agglomerative', linkage => 'ward', k => 77",
        "HDBSCAN": "algorithm => 'hdbscan'",
    }
    prepare = (f"CREATE TABLE q AS SELECT id, intent, embed(text, '{MODEL}') AS embedding FROM '{INTENTS}' "
               "WHERE split = 'test';")
    print("| clusters | found | ARI | NMI |")
    print("|---|---:|---:|---:|")
    for name, options in ways.items():
        row = sql(f"{prepare} SELECT count(DISTINCT cluster_id) AS n, adjusted_rand_index(intent, c) AS ari, "
                  f"normalized_mutual_info(intent, c) AS nmi FROM (SELECT *, coalesce(cluster_id, -1) AS c FROM clusters(q, {options}))")[0]
        print(f"| {name} | {row['n']} | {float(row['ari']):.3f} | {float(row['nmi']):.3f} |")


def planted(texts, pairs=None):
    path = WORK / "planted.parquet"
    command = [sys.executable, str(ROOT / "scripts" / "make-planted-duplicates.py"), texts, str(path)]
    command += ["--paraphrases", pairs] if pairs else []
    command += ["--column", "2"] if texts.endswith("ag_news/test.csv") else []
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    kinds = ["exact", "case_space", "typo", "swap", "reworded"] + (["paraphrase"] if pairs else [])
    print("| model | threshold | precision |", " | ".join(kinds), "|")
    print("|---|---:|---:|" + "---:|" * len(kinds))
    for model in dict.fromkeys(["potion", MODEL]):
        prepare = f"CREATE TABLE planted AS SELECT *, embed(text, '{model}') AS embedding FROM '{path}';"
        for threshold in (0.95, 0.9, 0.85, 0.8):
            rows = sql(
                f"{prepare} CREATE TABLE d AS SELECT id, representative_id, is_kept, original_id, kind "
                f"FROM dedup(planted, threshold => {threshold});"
                "SELECT a.kind, avg(CASE WHEN a.representative_id = o.representative_id THEN 1.0 ELSE 0.0 END) AS share "
                "FROM d a JOIN d o ON a.original_id = o.id WHERE a.kind <> 'original' GROUP BY a.kind UNION ALL "
                "SELECT 'precision', avg(CASE WHEN a.original_id = r.original_id THEN 1.0 ELSE 0.0 END) "
                "FROM d a JOIN d r ON a.representative_id = r.id WHERE NOT a.is_kept")
            found = {row["kind"]: float(row["share"]) for row in rows}
            shares = [f"{found.get(kind, 0):.3f}" for kind in ["precision", *kinds]]
            print(f"| {model} | {threshold} |", " | ".join(shares), "|")


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    match sys.argv[1:]:
        case ["search", folder]:
            search(pathlib.Path(folder))
        case ["bitext", folder]:
            bitext(pathlib.Path(folder))
        case ["planted", texts, *pairs]:
            planted(texts, *pairs)
        case ["clusters"]:
            clusters()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
