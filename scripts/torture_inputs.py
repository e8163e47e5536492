"""The inputs of torture.py: texts, pipelines, and whatever is damaged or hostile. Everything random comes from the
generator that is given, so that a seed makes the same inputs again."""

import json
import struct

# Names of the pipelines that `pipeline` makes.
PIPELINES = ("rows", "counts", "online_topics", "online_dedup")

# What is asked of a damaged file.
FILE_QUERIES = (
    "SELECT count(*), max(text), sum(id) FROM '{}'",
    "SELECT * FROM '{}' ORDER BY text DESC LIMIT 3",
    "SELECT * FROM text_search('{}', query => 'text')",
    "DESCRIBE '{}'",
)

# Numbers at their extremes, for JSON and SQL.
NUMBERS = ("0", "1", "-1", "2", "127", "65536", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808",
           "18446744073709551616", "1e400", "1e-300", "0.5", "1.0000001", "-0.0")


def messages(count):
    """JSON lines with times that rise, and texts of which many repeat."""
    rows = ({"id": n, "text": f"message {n % 97} of {n % 13}", "ts": 1_767_258_000_000 + 37 * n} for n in range(count))
    return "".join(json.dumps(row) + "\n" for row in rows)


def pipeline(kind, name, source, paced=False):
    """A pipeline of files into a folder of its name; a paced one takes some seconds."""
    window = "tumble(m, INTERVAL '20 seconds')"
    query = {
        "rows": "SELECT id, text, cos_sim(embed(text, 'potion'), embed('message', 'potion')) AS score FROM m",
        "counts": "SELECT window_start, count(*) AS n, min(id) AS first FROM hop(m, INTERVAL '5 seconds', INTERVAL '20 seconds')"
                  " GROUP BY window_start, window_end",
        "online_topics": f"SELECT id, topic_id FROM online_topics({window}, model => 'potion')",
        "online_dedup": f"SELECT id, is_kept, representative_id FROM online_dedup({window}, model => 'potion')",
    }[kind]
    speed = ", speed = '150'" if paced else ""
    return f"""SET stream.state = 'state-{name}'; SET stream.checkpoint_interval = '50 ms';
        CREATE SOURCE m (id BIGINT, text VARCHAR, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'files', path = '{source}'{speed});
        CREATE SINK s WITH (connector = 'files', path = '{name}', format = 'json');
        INSERT INTO s {query};"""


def table():
    rows = "".join(f'{n},"text ""{n}"", {"x" * (n % 60)}",{n / 7}\n' for n in range(400))
    return ("id,text,n\n" + rows).encode()


def objects():
    rows = ({"id": n, "text": "ü" * (n % 9), "n": None if n % 5 else n} for n in range(400))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def array():
    return json.dumps([{"id": n, "text": "a" * (n % 9), "more": {"x": [n]}} for n in range(100)]).encode()


def mutated(chance, data):
    """A file with one to three faults."""
    data = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(max(len(data), 1))
        kind = chance.randrange(6)
        if kind == 0 and data:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = chance.choice((b"\0", b'"', b"\n", b"{", b"]", b"\xff\xfe", b"[" * 2000, b"9" * 400, b'""""', b"\r"))
        elif kind == 3:
            del data[at:at + chance.randrange(40)]
        elif kind == 4:
            piece = chance.choice(NUMBERS).encode()
            data[at:at + len(piece)] = piece
        else:
            data += chance.choice((b"\0" * 100, b'{"id":', b"\n\n", bytes(data[-60:])))
    return bytes(data) or b"\n"


def hostile_json(chance, value):
    """A JSON value with one place replaced by something else."""
    odd = chance.choice((None, True, -1, 0, 2**31, 2**63, 1e308, "", "x" * 5000, "../../etc/passwd", "\0", [], {}, [[]] * 50, "9" * 300))
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(sorted(value))
        kind = chance.randrange(8)
        if kind == 0:
            return {other: value[other] for other in value if other != key}
        return {**value, key: hostile_json(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        return value[:at] + [hostile_json(chance, value[at])] + value[at + 1:]
    return odd


def hostile_model_file(chance, path, data):
    """A file of a model: its JSON with another value, its weights with another header, or its bytes damaged."""
    kind = chance.randrange(4)
    if path.endswith(".json") and kind > 0:
        return json.dumps(hostile_json(chance, json.loads(data))).encode()
    if path.endswith(".safetensors") and kind > 0:
        length = struct.unpack("<Q", data[:8])[0]
        if kind == 1:
            return struct.pack("<Q", chance.choice((0, 1, 2**20, 2**40, 2**63, 2**64 - 1, length - 1, length + 8))) + data[8:]
        header = json.dumps(hostile_json(chance, json.loads(data[8:8 + length]))).encode()
        return struct.pack("<Q", len(header)) + header + data[8 + length:]
    return mutated(chance, data)


def chains(chance):
    """Very long statements, of which each level or operator is one more."""
    count = lambda most: chance.randrange(most // 2, most)
    yield "SELECT " + "(" * count(10_000) + "1"
    yield "SELECT 1" + " UNION ALL SELECT 1" * count(1500)
    yield "SELECT " + "NOT " * count(16_000) + "true"
    yield "SELECT " + "1+" * count(2500) + "1"
    yield "SELECT 'a'" + "||'a'" * count(2500)
    yield "SELECT 1 WHERE " + " OR ".join(f"1={n}" for n in range(count(12_000)))
    yield "SELECT " + "ARRAY[" * count(6000)
    yield "SELECT CAST(NULL AS " + "ARRAY<" * 5000 + "INT" + ">" * 5000 + ")"
    yield "SELECT " + "CASE WHEN true THEN " * count(6000)
    yield "SELECT '" + "x" * 3_000_000 + "'"
    yield "SELECT 1;" * 900
    yield "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5000) SELECT max(n) FROM t"


WORDS = ("SELECT", "FROM", "WHERE", "(", ")", ",", "1", "'a'", "NULL", "id", "text", "embed('x', 'potion')", "cos_sim", "*", "t", "AS",
         "OVER", "GROUP BY", "dedup(t)", "topics(t)", "tumble(t, INTERVAL '1 s')", "threshold => 2", "ARRAY[1,2]", "CAST", "::INT",
         "LIMIT", "-", "NOT", ";", "WITH", "UNION ALL", "VALUES", "CREATE SOURCE", "CREATE SINK", "CREATE MODEL", "EXPLAIN", "SHOW",
         "'\\0'", "1e400", "9223372036854775808", "\"", "--", "/*", "$1", "INTERVAL", "quantize", "semantic_search(t, query => 'a')")


def statement(chance):
    """A statement of random words over a small table."""
    head = "CREATE VIEW t AS SELECT * FROM (VALUES (1, 'a b'), (2, NULL)) AS v(id, text); "
    return head + " ".join(chance.choice(WORDS) for _ in range(chance.randrange(2, 25)))


TABLES = (
    "SELECT * FROM (VALUES (1, 'a')) AS v(id, text) WHERE false",
    "SELECT 1 AS id, 'only one' AS text",
    "SELECT value AS id, 'the same' AS text FROM range(30)",
    "SELECT value AS id, 'text ' || (value % 7) AS text FROM range(60)",
    "SELECT value AS id, CAST(NULL AS VARCHAR) AS text FROM range(9)",
    "SELECT value % 3 AS id, 'text ' || value AS text FROM range(12)",
    "SELECT nullif(value, 4) AS id, 'text ' || value AS text FROM range(12)",
    "SELECT 'k' || value AS id, CASE WHEN value % 3 = 0 THEN NULL ELSE repeat('wort ', value) END AS text FROM range(40)",
    "SELECT value AS id, '' AS text FROM range(5)",
    "SELECT value AS id, [1.0, value, 0.5] AS vector FROM range(30)",
    "SELECT value AS id, [0.0, 0.0] AS vector FROM range(10)",
    "SELECT value AS id, CASE WHEN value = 3 THEN NULL ELSE [1.0, value] END AS vector FROM range(10)",
    "SELECT value AS id, [CAST('NaN' AS DOUBLE), 1.0] AS vector FROM range(10)",
    "SELECT value AS id, [1e38, -1e38, CAST('inf' AS DOUBLE)] AS vector FROM range(10)",
    "SELECT value AS id, [1.0, NULL, 2.0] AS vector FROM range(10)",
)

# By call the options that take numbers, and what may be said beside them.
CALLS = {
    "semantic_search(t, query => 'text'": (("top_k", "threshold", "oversample", "expansion"), ("candidates => 'int8'", "candidates => 'binary'")),
    "semantic_search(t, queries => (SELECT * FROM t LIMIT 3)": (("top_k", "threshold"), ("filter => 'id > 2'",)),
    "text_search(t, query => 'text'": (("top_k",), ("language => 'german'", "language => 'xx'")),
    "hybrid_search(t, query => 'text'": (("top_k", "candidates_k", "rrf_k"), ("language => 'english'",)),
    "paraphrase_mining(t": (("top_k", "max_pairs", "threshold"), ("all_pairs => true", "approximate => true", "other => t")),
    "semantic_join(t, corpus => t": (("top_k", "threshold"), ("exclude_self => true",)),
    "bitext_mining(t, target => t": (("k", "threshold"), ("margin => 'distance'", "margin => 'absolute'")),
    "dedup(t": (("threshold", "confirm_margin", "confirm_score"), ("mode => 'closure'", "keep => 'last'", "keep_by => 'id'", "pairs => true", "against => t")),
    "communities(t": (("threshold", "min_size"), ()),
    "clusters(t": (("k", "threshold", "min_size", "seed"), ("algorithm => 'dbscan'", "algorithm => 'hdbscan'", "algorithm => 'agglomerative'",
                   "algorithm => 'minibatch'", "linkage => 'ward'")),
    "topics(t": (("k", "threshold", "min_size", "reduce_to", "merge_threshold", "words", "ngrams"), ("stop_words => 'none'",)),
    "topic_table(t": (("k", "reduce_to", "merge_threshold", "words"), ("algorithm => 'hdbscan'",)),
    "map_2d(t": (("perplexity", "seed"), ("method => 'pca'",)),
    "online_dedup(t": (("threshold", "rows_max"), ("horizon => '1 s'", "precision => 'int8'")),
    "online_clusters(t": (("threshold", "distance", "k", "min_weight", "micro_clusters_max", "match_share", "change_share"), ("half_life => '1 s'",)),
}


def finding(chance):
    """A call of a finding over an odd table."""
    call = chance.choice(sorted(CALLS))
    numbers, words = CALLS[call]
    given = {chance.choice(numbers): chance.choice((*NUMBERS, "NULL", "'x'")) for _ in range(chance.randrange(0, 3))}
    said = [f"{option} => {value}" for option, value in given.items()]
    if words and chance.random() < 0.4:
        said.append(chance.choice(words))
    call = "".join([call, *(f", {option}" for option in said), ")"])
    return f"CREATE VIEW t AS {chance.choice(TABLES)}; SELECT * FROM {call} LIMIT 50"
