#!/usr/bin/env python3
"""Tries to break a built `sembla`: kills at random moments, damaged state, hostile files, models and SQL, slow clients.

    scripts/torture.py [--binary PATH] [--models DIR] [--seed N] [--minutes M] [SUITE ...]

Each suite has its share of the time and ends with one line of numbers. The same seed makes the same inputs and the same
choices in the same order; when a kill hits a process is up to the machine. The exit status is 1 if something broke: a
panic, an internal error, a signal that nobody sent, a result that differs from an undisturbed run, or a process that
does not end. Only Python's standard library is needed; Kafka and S3 have tests of their own.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import torture_inputs as inputs

# Longest time that one command may take, in seconds.
TIMEOUT = 120
# Exit statuses that a command may have: success, a failure, a mistake in the request.
STATUSES = (0, 1, 2)
# Ends of the names of image files.
IMAGE_ENDINGS = ("png", "jpg", "webp", "gif", "bmp", "tiff")
# Address space of one command: what takes more is a runaway.
MEMORY_KIB = 24 << 20


class Broken(Exception):
    """Something that must not be."""


class Place:
    """A folder of its own, and the binary."""

    def __init__(self, options, suite):
        self.binary, self.models = options.binary, options.models
        self.random = random.Random(f"{options.seed} {suite}")
        self.path = tempfile.mkdtemp(prefix="sembla-torture-")
        self.environment = {**os.environ, "SEMBLA_MODELS": options.models, "SEMBLA_PROGRESS_SECONDS": "0"}

    def file(self, *names):
        return os.path.join(self.path, *names)

    def write(self, name, content):
        data = content if isinstance(content, bytes) else content.encode()
        with open(self.file(name), "wb") as out:
            out.write(data)
        return self.file(name)

    def start(self, *args, **how):
        command = ["bash", "-c", f'ulimit -v {MEMORY_KIB}; exec "$0" "$@"', self.binary, *args]
        return subprocess.Popen(command, cwd=self.path, env=self.environment, **how)

    def run(self, *args, seconds=TIMEOUT):
        """Runs a command to its end, which must be one of its own. Its status and what it said."""
        child = self.start(*args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        shown = " ".join(args)[:400]
        try:
            said = child.communicate(timeout=seconds)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise Broken(f"it did not end within {seconds} s: {shown}")
        if child.returncode not in STATUSES or "panicked at" in said or "internal error" in said:
            raise Broken(f"status {child.returncode}: {shown}\n{said[-800:]}")
        return child.returncode, said

    def kill_after(self, seconds, *args):
        """Starts a command and kills it after a time. Whether it had ended before."""
        child = self.start(*args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            child.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return False

    def timed(self, *args):
        began = time.monotonic()
        status, said = self.run(*args)
        if status != 0:
            raise Broken(f"an undisturbed run ends with {status}: {said[-400:]}")
        return time.monotonic() - began


def published(folder):
    """What readers of a data set of JSON lines see: its rows, sorted."""
    rows = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(("_", "."))]
        for name in names:
            with open(os.path.join(root, name), "rb") as data:
                rows += data.read().splitlines()
    return sorted(rows)


def check_same(place, whole, name):
    """Two outputs of `embed` have the same rows, and as JSON lines the same bytes."""
    if name.endswith(".jsonl"):
        with open(place.file(whole), "rb") as one, open(place.file(name), "rb") as other:
            same = one.read() == other.read()
        said = ""
    else:
        query = (f"SELECT (SELECT count(*) FROM '{whole}') - (SELECT count(*) FROM '{name}') AS fewer, count(*) FILTER (WHERE"
                 f" a.text <> b.text OR l2_distance(a.embedding, b.embedding) <> 0) AS other, count(*) - (SELECT count(*) FROM"
                 f" '{whole}') AS pairs FROM '{whole}' AS a JOIN '{name}' AS b ON a.id = b.id")
        status, said = place.run("sql", "--format", "csv", query)
        same = status == 0 and said.split() == ["fewer,other,pairs", "0,0,0"]
    if not same:
        raise Broken(f"{name} differs from {whole} {said[-300:]}")


def damaged(place, path):
    """Flips, cuts, lengthens or removes a file; what was done."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    kind = place.random.choice(("flip", "cut", "append", "remove", "empty", "zeros"))
    if kind == "remove":
        os.remove(path)
        return kind
    at = place.random.randrange(max(len(data), 1))
    if kind == "flip" and data:
        data[at] ^= 1 << place.random.randrange(8)
    elif kind == "cut":
        del data[at:]
    elif kind == "empty":
        data.clear()
    elif kind == "zeros":
        data[at:at + 512] = bytes(len(data[at:at + 512]))
    else:
        data += b"\0x"
    with open(path, "wb") as file:
        file.write(data)
    return kind


def embed_kills(place, until):
    """`sembla embed` is killed at any moment and run again; the rows are those of a run without a kill."""
    source = place.write("texts.jsonl", inputs.messages(60_000))
    command = lambda name: ("embed", source, "-o", name, "-c", "text", "-m", "potion")
    seconds = {ending: place.timed(*command(f"whole.{ending}")) for ending in ("parquet", "jsonl")}
    outputs = kills = resumed = 0
    while time.monotonic() < until:
        ending = place.random.choice(sorted(seconds))
        name = f"out{outputs}.{ending}"
        for _ in range(6):
            if place.kill_after(place.random.uniform(0.0, 1.1 * seconds[ending]), *command(name)):
                break
            kills += 1
            resumed += os.path.exists(place.file(f"{name}.partial"))
            if os.path.exists(place.file(name)):
                check_same(place, f"whole.{ending}", name)
                break
        if not os.path.exists(place.file(name)):
            place.timed(*command(name))
        check_same(place, f"whole.{ending}", name)
        os.remove(place.file(name))
        outputs += 1
    return f"{kills} kills ({resumed} left work to resume), {outputs} outputs, all equal"


def pipeline_kills(place, until):
    """Pipelines are killed at any moment and run again; their results are those of a run without a kill."""
    source = place.write("texts.jsonl", inputs.messages(20_000))
    whole, seconds = {}, {}
    for kind in inputs.PIPELINES:
        seconds[kind] = place.timed("run", place.write("whole.sql", inputs.pipeline(kind, f"whole-{kind}", source)))
        whole[kind] = published(place.file(f"whole-{kind}"))
    runs = kills = 0
    while time.monotonic() < until:
        kind = place.random.choice(sorted(whole))
        name = f"run{runs}"
        file = place.write(f"{name}.sql", inputs.pipeline(kind, name, source))
        for _ in range(8):
            if place.kill_after(place.random.uniform(0.05, 0.7 * seconds[kind]), "run", file):
                break
            kills += 1
        place.timed("run", file)
        if published(place.file(name)) != whole[kind]:
            raise Broken(f"{name} ({kind}): the results differ from a run without kills")
        shutil.rmtree(place.file(name))
        runs += 1
    return f"{kills} kills, {runs} runs of {len(whole)} pipelines, all equal"


def half_done(place, source, kind):
    """Kills a pipeline after it has published something, and keeps what it leaves."""
    file = place.write("half.sql", inputs.pipeline(kind, "half", source, paced=True))
    for _ in range(200):
        place.kill_after(0.7, "run", file)
        if os.path.exists(place.file("half")) and len(published(place.file("half"))) > 3:
            break
    for name in ("half", "state-half"):
        shutil.copytree(place.file(name), place.file(f"kept-{name}"))
    return file


def state_damage(place, until):
    """A file of a pipeline's state or of its sink's own is damaged; the pipeline gives the same rows or refuses."""
    source = place.write("texts.jsonl", inputs.messages(20_000))
    tried, refused, kinds = 0, 0, list(inputs.PIPELINES)
    while time.monotonic() < until:
        kind = kinds[tried // 60 % len(kinds)]
        for name in ("half", "state-half", "kept-half", "kept-state-half", f"whole-{kind}", "state-whole"):
            shutil.rmtree(place.file(name), ignore_errors=True)
        place.timed("run", place.write("whole.sql", inputs.pipeline(kind, f"whole-{kind}", source)))
        whole, file = published(place.file(f"whole-{kind}")), half_done(place, source, kind)
        for _ in range(60):
            if time.monotonic() >= until:
                break
            for name in ("half", "state-half"):
                shutil.rmtree(place.file(name))
                shutil.copytree(place.file(f"kept-{name}"), place.file(name))
            own = [os.path.join(root, name) for part in ("state-half", "half/_sembla", "half/_pending")
                   for root, _, names in os.walk(place.file(part)) for name in names]
            victim = place.random.choice(sorted(own))
            what = damaged(place, victim)
            status, said = place.run("run", file)
            tried += 1
            refused += status != 0
            if status == 0 and published(place.file("half")) != whole:
                raise Broken(f"{what} of {victim}: the results differ, and nothing was said:\n{said[-400:]}")
    return f"{tried} damaged files, {refused} refused by name, no wrong result"


def work_damage(place, until):
    """The unfinished work of `embed`, its cache and an index are damaged; results are right, or the files are refused."""
    source = place.write("texts.jsonl", inputs.messages(20_000))
    embed = lambda *more: ("embed", source, "-c", "text", "-m", "potion", *more)
    took = place.timed(*embed("-o", "whole.parquet", "--cache", "kept-cache"))
    while not os.path.exists(place.file("part.parquet.partial/parts")):
        place.kill_after(place.random.uniform(0.1, 1.2) * took, *embed("-o", "part.parquet"))
        if os.path.exists(place.file("part.parquet")):
            os.remove(place.file("part.parquet"))
    shutil.copytree(place.file("part.parquet.partial"), place.file("kept-partial"))
    place.timed("sql", "CREATE INDEX i WITH (path = 'kept.index') AS SELECT id, embedding FROM 'whole.parquet' LIMIT 2000")
    search = ("sql", "-m", "potion", "--format", "csv", "CREATE INDEX i WITH (path = 'bad.index'); "
              "SELECT id, score FROM semantic_search(i, query => 'card', model => 'potion', top_k => 5)")

    def index_again():
        """A whole index at bad.index, which is several files. Their paths."""
        for name in os.listdir(place.path):
            if name.startswith("bad.index"):
                os.remove(place.file(name))
        whole = sorted(name for name in os.listdir(place.path) if name.startswith("kept.index"))
        return [shutil.copy(place.file(name), place.file(name.replace("kept", "bad"))) for name in whole]

    index_again()
    found = place.run(*search)
    if found[0] != 0:
        raise Broken(f"a whole index can't be searched: {found[1][-400:]}")
    tried = refused = indexes = 0
    while time.monotonic() < until:
        if place.random.random() < 0.3:
            what = damaged(place, place.random.choice(index_again()))
            now = place.run(*search)
            indexes += 1
            refused += now[0] != 0
            if now[0] == 0 and now != found:
                raise Broken(f"{what} of an index, and nothing was said: {now[1][-400:]}")
            continue
        for name in ("cache", "part.parquet.partial", "out.parquet", "part.parquet", "out.parquet.partial"):
            shutil.rmtree(place.file(name), ignore_errors=True)
            if os.path.isfile(place.file(name)):
                os.remove(place.file(name))
        if place.random.random() < 0.6:
            shutil.copytree(place.file("kept-cache"), place.file("cache"))
            folder, output, command = "cache", "out.parquet", embed("-o", "out.parquet", "--cache", "cache")
        else:
            shutil.copytree(place.file("kept-partial"), place.file("part.parquet.partial"))
            folder, output, command = "part.parquet.partial", "part.parquet", embed("-o", "part.parquet")
        files = [os.path.join(root, name) for root, _, names in os.walk(place.file(folder)) for name in names]
        victim = place.random.choice(sorted(files))
        what = damaged(place, victim)
        status, said = place.run(*command)
        tried += 1
        refused += status != 0
        if status == 0:
            try:
                check_same(place, "whole.parquet", output)
            except Broken as error:
                raise Broken(f"{what} of {victim}, and nothing was said: {error}\n{said[-400:]}")
    return f"{tried} damaged files, {indexes} damaged indexes, {refused} refused by name, no wrong result"


def hostile_files(place, until):
    """Files that are cut, flipped or of something else: an answer or an error, never a crash."""
    seeds = {"csv": inputs.table(), "jsonl": inputs.objects(), "json": inputs.array()}
    place.write("good.csv", seeds["csv"])
    place.run("sql", "COPY (SELECT * FROM 'good.csv') TO 'good.parquet' STORED AS PARQUET")
    with open(place.file("good.parquet"), "rb") as file:
        seeds["parquet"] = file.read()
    for ending in ("csv.gz", "jsonl.zst"):
        plain = ending.split(".")[0]
        place.write(f"good.{plain}", seeds[plain])
        packed = subprocess.run(["gzip", "-c", place.file(f"good.{plain}")], capture_output=True).stdout
        seeds[ending.replace("zst", "gz")] = packed
    tried = answered = 0
    while time.monotonic() < until:
        ending, data = place.random.choice(sorted(seeds.items()))
        place.write(f"bad.{ending}", inputs.mutated(place.random, data))
        query = place.random.choice(inputs.FILE_QUERIES).format(f"bad.{ending}")
        status, _ = place.run("sql", query)
        tried += 1
        answered += status == 0
    return f"{tried} files, {answered} read, the others refused"


def hostile_images(place, until):
    """Changed image files, a folder of them at a time: each row has a size or an error, and a hash or NULL."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models", "tests", "fixtures", "images")
    names = sorted(name for name in os.listdir(folder) if name.rsplit(".", 1)[-1] in IMAGE_ENDINGS)
    files = rounds = 0
    while time.monotonic() < until or not rounds:
        shutil.rmtree(place.file("images"), ignore_errors=True)
        os.mkdir(place.file("images"))
        for number in range(60):
            name = place.random.choice(names)
            with open(os.path.join(folder, name), "rb") as source:
                place.write(os.path.join("images", f"{number:03}-{name}"), inputs.mutated(place.random, source.read()))
        sql = "SELECT count(*) AS rows, count(error) + count(width) AS told, count(image_hash(bytes, 'null')) AS hashes FROM read_images('images')"
        status, said = place.run("sql", "--format", "ndjson", sql)
        if status or not said.startswith('{"rows":60,"told":60,'):
            raise Broken(f"rows are missing: {said[-400:]}")
        files, rounds = files + 60, rounds + 1
    return f"{files} changed images in {rounds} folders"


def hostile_models(place, until):
    """Model folders with damaged or hostile files: vectors or an error, never a crash."""
    bundled = {name: os.path.join(place.models, name) for name in sorted(os.listdir(place.models))}
    folders = {name: path for name, path in bundled.items() if os.path.exists(os.path.join(path, "config.json"))}
    tried = answered = 0
    while time.monotonic() < until:
        name = place.random.choice(sorted(folders))
        shutil.rmtree(place.file("model"), ignore_errors=True)
        shutil.copytree(folders[name], place.file("model"), copy_function=os.symlink)
        files = sorted(file for file in os.listdir(place.file("model")) if not file.endswith(".md"))
        victim = place.file("model", place.random.choice(files))
        if os.path.isdir(victim):
            victim = os.path.join(victim, os.listdir(victim)[0])
        with open(victim, "rb") as file:
            data = file.read()
        os.remove(victim)
        with open(victim, "wb") as file:
            file.write(inputs.hostile_model_file(place.random, victim, data))
        call = place.random.choice(("embed('a text', './model')", "rerank('a', 'b', './model')", "token_count(repeat('ab ', 3000), './model')"))
        status, _ = place.run("sql", f"SELECT {call}")
        tried += 1
        answered += status == 0
    return f"{tried} models, {answered} answered, the others refused"


def hostile_sql(place, until):
    """Statements put together at random, and very long ones: an answer or an error, never a crash or a hang."""
    tried = answered = 0
    for chain in inputs.chains(place.random):
        if time.monotonic() < until:
            place.run("sql", "-f", place.write("chain.sql", chain))
            tried += 1
    while time.monotonic() < until:
        status, _ = place.run("sql", "-f", place.write("query.sql", inputs.statement(place.random)))
        tried += 1
        answered += status == 0
    return f"{tried} statements, {answered} answered, the others refused"


def findings(place, until):
    """Findings over odd tables with options at their extremes: rows or an error, never a crash."""
    tried = answered = 0
    while time.monotonic() < until:
        status, _ = place.run("sql", "-m", "potion", "--memory-limit", "2g", "-f", place.write("query.sql", inputs.finding(place.random)))
        tried += 1
        answered += status == 0
    return f"{tried} calls, {answered} answered, the others refused"


def slow_clients(place, until):
    """Clients of the metrics that send half a request and wait; the pipeline goes on, and /health answers."""
    source = place.write("texts.jsonl", inputs.messages(150_000))
    file = place.write("served.sql", inputs.pipeline("counts", "served", source, paced=True))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    child = place.start("run", file, "--metrics", str(port), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    held, made, refused, answers, asked = [], 0, 0, 0, 0
    try:
        time.sleep(1)
        while time.monotonic() < until and child.poll() is None:
            try:
                client = socket.create_connection(("127.0.0.1", port), timeout=5)
                client.sendall(b"GET /metrics HT")
                held.append(client)
                made += 1
            except OSError:
                refused += 1
                time.sleep(0.01)
            if (made + refused) % 100 == 0:
                asked += 1
                answers += healthy(port)
            while len(held) > 1500:
                held.pop(0).close()
        if child.poll() not in (None, 0):
            raise Broken(f"the pipeline ended with {child.poll()}: {child.stderr.read().decode(errors='replace')[-400:]}")
        if asked > 4 and answers == 0:
            raise Broken(f"/health did not answer once of {asked} times")
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            raise Broken("the pipeline did not stop within 30 s of SIGTERM")
        for client in held:
            client.close()
    return f"{made} clients, {refused} refused, /health answered {answers} of {asked} times"


def healthy(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.recv(20).startswith(b"HTTP/1.")
    except OSError:
        return False


# By suite its share of the time.
SUITES = {
    embed_kills: 2, pipeline_kills: 3, state_damage: 3, work_damage: 1.5, hostile_files: 2.5, hostile_images: 1, hostile_models: 2,
    hostile_sql: 1.5, findings: 2, slow_clients: 0.5,
}


def main():
    names = {suite.__name__: suite for suite in SUITES}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default=os.environ.get("SEMBLA", "target/release/sembla"))
    parser.add_argument("--models", default=os.environ.get("SEMBLA_MODELS", "models/builtin"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=18, help="for all suites together")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(names)}; all of them by default")
    options = parser.parse_args()
    options.binary, options.models = os.path.abspath(options.binary), os.path.abspath(options.models)
    unknown = [name for name in options.suites if name not in names]
    if unknown:
        parser.error(f"there is no suite {unknown[0]}; there are {', '.join(names)}")
    if not os.path.exists(options.binary):
        sys.exit(f"{options.binary} does not exist; `make build` makes it, or name another one with --binary")
    chosen = [names[name] for name in options.suites] or list(SUITES)
    unit = 60 * options.minutes / sum(SUITES[suite] for suite in chosen)
    broken = 0
    for suite in chosen:
        place = Place(options, suite.__name__)
        began = time.monotonic()
        try:
            said = suite(place, began + unit * SUITES[suite])
            shutil.rmtree(place.path, ignore_errors=True)
        except Broken as error:
            broken += 1
            said = f"BROKEN: {error}\nits files are in {place.path}"
        print(f"{suite.__name__} ({time.monotonic() - began:.0f} s): {said}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
