#!/usr/bin/env python3
"""Tries to break a built `sembla`: kills at random moments, damaged state, hostile files and SQL, slow clients.

    scripts/torture.py [--binary PATH] [--seed N] [--minutes M] [SUITE ...]

Every suite has the same share of the time and ends with one line of numbers. A run with the same seed makes the same
inputs and the same choices; when a process is hit is up to the machine. The exit status is 1 if something broke: a panic,
a signal that nobody sent, a result that differs from an undisturbed run, or a process that does not end.
Only Python's standard library is needed. Kafka and S3 have their own tests.
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

# Longest time that one command may take.
TIMEOUT = 120
# Exit statuses that a command may have: success, a failure, a mistake in the request.
STATUSES = (0, 1, 2)


class Broken(Exception):
    """Something that must not be."""


class Place:
    """A folder of its own, and the binary."""

    def __init__(self, binary, seed):
        self.binary = binary
        self.random = random.Random(seed)
        self.path = tempfile.mkdtemp(prefix="sembla-torture")

    def file(self, *names):
        return os.path.join(self.path, *names)

    def write(self, name, text):
        data = text if isinstance(text, bytes) else text.encode()
        with open(self.file(name), "wb") as out:
            out.write(data)
        return self.file(name)

    def run(self, *args, seconds=TIMEOUT):
        """Runs a command to its end, which must be one of its own."""
        try:
            done = subprocess.run([self.binary, *args], capture_output=True, timeout=seconds, cwd=self.path)
        except subprocess.TimeoutExpired:
            raise Broken(f"it did not end within {seconds} s: {' '.join(args)[:300]}")
        said = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode not in STATUSES or "panicked at" in said:
            raise Broken(f"status {done.returncode}: {' '.join(args)[:300]}\n{said[-600:]}")
        return done.returncode, said

    def kill_after(self, seconds, *args):
        """Starts a command and kills it after a time. Whether it had ended before."""
        child = subprocess.Popen([self.binary, *args], cwd=self.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            child.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            return False


def contents(folder):
    """What readers of a data set see: the bytes of its files, by name."""
    found = {}
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(("_", "."))]
        for name in names:
            with open(os.path.join(root, name), "rb") as data:
                found[os.path.relpath(os.path.join(root, name), folder)] = data.read()
    return found


def lines(folder):
    """The rows of a data set of JSON lines, sorted."""
    return sorted(line for data in contents(folder).values() for line in data.splitlines())


def messages(place, count):
    """A file of messages with times that rise."""
    rows = ({"id": n, "text": f"message {n % 97} of {n % 13}", "ts": 1_767_258_000_000 + 37 * n} for n in range(count))
    return place.write("messages.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def pipeline(place, name, source):
    """A pipeline over files with windows, into a folder of its name."""
    return place.write(
        f"{name}.sql",
        f"""SET stream.state = 'state-{name}'; SET stream.checkpoint_interval = '50 ms';
            CREATE SOURCE m (id BIGINT, text VARCHAR, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'files', path = '{source}', speed = '2000');
            CREATE SINK s WITH (connector = 'files', path = '{name}', format = 'json');
            INSERT INTO s SELECT window_start, count(*) AS n, min(id) AS first FROM hop(m, INTERVAL '5 seconds', INTERVAL '20 seconds')
              GROUP BY window_start, window_end;""",
    )


def embed_kills(place, until):
    """`sembla embed` is killed at any moment and run again; the output is that of a run without a kill."""
    source = messages(place, 20_000)
    command = lambda name: ("embed", source, "-o", name, "-c", "text", "-m", "potion")
    place.run(*command("whole.parquet"))
    whole = open(place.file("whole.parquet"), "rb").read()
    outputs = kills = 0
    while time.monotonic() < until:
        name = f"out{outputs}.parquet"
        for _ in range(6):
            if place.kill_after(place.random.uniform(0.05, 2.0), *command(name)):
                break
            kills += 1
        if not os.path.exists(place.file(name)):
            place.run(*command(name))
        if open(place.file(name), "rb").read() != whole:
            raise Broken(f"{name} differs from a run without kills")
        outputs += 1
    return f"{kills} kills, {outputs} outputs, all equal"


def pipeline_kills(place, until):
    """A pipeline is killed at any moment and run again; its results are those of a run without a kill."""
    source = messages(place, 20_000)
    place.run("run", pipeline(place, "whole", source))
    whole, runs, kills = lines(place.file("whole")), 0, 0
    while time.monotonic() < until:
        file = pipeline(place, f"run{runs}", source)
        for _ in range(8):
            if place.kill_after(place.random.uniform(0.05, 0.8), "run", file):
                break
            kills += 1
        place.run("run", file)
        if lines(place.file(f"run{runs}")) != whole:
            raise Broken(f"run{runs}: the results differ from a run without kills")
        runs += 1
    return f"{kills} kills, {runs} runs, {len(whole)} rows each, all equal"


def damage(place, until):
    """A file of the state or of the data set's own is cut, flipped or removed; the pipeline gives the same rows or refuses."""
    source = messages(place, 20_000)
    place.run("run", pipeline(place, "whole", source))
    whole = lines(place.file("whole"))
    file = pipeline(place, "half", source)
    while not [path for path in contents(place.file("half")) if "part-" in path] if os.path.exists(place.file("half")) else True:
        place.kill_after(0.6, "run", file)
    kept = {name: place.file(f"kept-{name}") for name in ("half", "state-half")}
    for name, copy in kept.items():
        shutil.copytree(place.file(name), copy)
    tried = refused = 0
    while time.monotonic() < until:
        for name, copy in kept.items():
            shutil.rmtree(place.file(name))
            shutil.copytree(copy, place.file(name))
        own = [os.path.join(root, name) for part in ("state-half", "half/_sembla", "half/_pending")
               for root, _, names in os.walk(place.file(part)) for name in names if not name.startswith(".")]
        victim = place.random.choice(sorted(own))
        data = bytearray(open(victim, "rb").read())
        kind = place.random.choice(("flip", "cut", "append", "remove"))
        if kind == "remove":
            os.remove(victim)
        else:
            at = place.random.randrange(max(len(data), 1))
            if kind == "flip" and data:
                data[at] ^= 1 << place.random.randrange(8)
            elif kind == "cut":
                del data[at:]
            else:
                data += b"\0x"
            open(victim, "wb").write(data)
        status, said = place.run("run", file)
        tried += 1
        refused += status != 0
        if status == 0 and lines(place.file("half")) != whole:
            raise Broken(f"{kind} of {victim}: the results differ, and nothing was said:\n{said[-400:]}")
    return f"{tried} damaged files, {refused} refused by name, no wrong result"


def hostile_files(place, until):
    """Files that are cut, flipped or of something else: an answer or an error, never a crash."""
    table = "id,text,n\n" + "".join(f'{n},"text ""{n}"", {"x" * (n % 60)}",{n / 7}\n' for n in range(400))
    objects = "".join(json.dumps({"id": n, "text": "ü" * (n % 9), "n": None if n % 5 else n}) + "\n" for n in range(400))
    place.write("good.csv", table)
    place.run("sql", "COPY (SELECT * FROM 'good.csv') TO 'good.parquet' STORED AS PARQUET")
    seeds = {"csv": table.encode(), "jsonl": objects.encode(), "parquet": open(place.file("good.parquet"), "rb").read()}
    tried = answered = 0
    while time.monotonic() < until:
        ending, data = place.random.choice(sorted(seeds.items()))
        data = bytearray(data)
        for _ in range(place.random.randrange(1, 4)):
            at = place.random.randrange(len(data))
            kind = place.random.randrange(5)
            if kind == 0:
                data[at] ^= 1 << place.random.randrange(8)
            elif kind == 1:
                del data[at:]
            elif kind == 2:
                data[at:at] = place.random.choice((b"\0", b'"', b"\n", b"{", b"]", b"\xff\xfe", b"[" * 2000, b"9" * 400))
            elif kind == 3:
                data[at:at + place.random.randrange(40)] = b""
            else:
                data += place.random.choice((b"\0" * 100, b'{"id":', b"\n\n", bytes(data[-60:])))
            if not data:
                data = bytearray(b"\n")
        place.write(f"bad.{ending}", bytes(data))
        status, _ = place.run("sql", f"SELECT count(*), max(text), sum(id) FROM 'bad.{ending}'")
        tried += 1
        answered += status == 0
    return f"{tried} files, {answered} read, the others refused"


def hostile_sql(place, until):
    """Statements put together at random, some of them very long: an answer or an error, never a crash or a hang."""
    words = ("SELECT", "FROM", "WHERE", "(", ")", ",", "1", "'a'", "NULL", "id", "embed('x')", "cos_sim", "*", "t", "AS", "OVER", "GROUP BY",
             "dedup(t)", "topics(t)", "tumble(t, INTERVAL '1 s')", "threshold => 2", "ARRAY[1,2]", "CAST", "::INT", "LIMIT", "-", "NOT", ";",
             "WITH", "UNION ALL", "VALUES", "CREATE SOURCE", "EXPLAIN", "SHOW", "'\\0'", "1e400", "9223372036854775808", "\"", "--", "/*")
    chains = ("SELECT " + "(" * 5000 + "1", "SELECT 1" + " UNION ALL SELECT 1" * 4000, "SELECT " + "NOT " * 8000 + "true", "SELECT " + "1+" * 2000 + "1",
              "SELECT 'a'" + "||'a'" * 8000, "SELECT 1 WHERE " + " OR ".join(f"1={n}" for n in range(9000)), "SELECT " + "ARRAY[" * 3000,
              "SELECT " + "CASE WHEN true THEN " * 3000, "SELECT '" + "x" * 3_000_000 + "'", "SELECT 1;" * 900)
    tried = answered = 0
    for chain in chains:
        place.run("sql", "-f", place.write("chain.sql", chain))
        tried += 1
    while time.monotonic() < until:
        head = "CREATE VIEW t AS SELECT * FROM (VALUES (1, 'a b'), (2, NULL)) AS v(id, text); "
        text = head + " ".join(place.random.choice(words) for _ in range(place.random.randrange(2, 25)))
        status, _ = place.run("sql", "-f", place.write("query.sql", text))
        tried += 1
        answered += status == 0
    return f"{tried} statements, {answered} answered"


def slow_clients(place, until):
    """Clients of the metrics that send half a request and wait; the pipeline goes on, and /healthz answers."""
    source = messages(place, 200_000)
    file = pipeline(place, "served", source).replace("served.sql", "served.sql")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    child = subprocess.Popen([place.binary, "run", file, "--metrics", str(port)], cwd=place.path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    held, refused, answers = [], 0, 0
    try:
        time.sleep(2)
        while time.monotonic() < until and child.poll() is None:
            try:
                client = socket.create_connection(("127.0.0.1", port), timeout=5)
                client.sendall(b"GET /metrics HT")
                held.append(client)
            except OSError:
                refused += 1
                time.sleep(0.05)
            if len(held) % 100 == 0:
                answers += healthy(port)
            held = held[-1500:]
        ended = child.poll()
        if ended not in (None, 0):
            raise Broken(f"the pipeline ended with {ended}: {child.stderr.read().decode(errors='replace')[-400:]}")
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            raise Broken("the pipeline did not stop within 30 s of SIGTERM")
        for client in held:
            client.close()
    return f"{len(held)} clients held at the end, {refused} refused, {answers} answers about its health"


def healthy(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return client.recv(20).startswith(b"HTTP/1.")
    except OSError:
        return 0


SUITES = {name: suite for name, suite in globals().items()
          if name in ("embed_kills", "pipeline_kills", "damage", "hostile_files", "hostile_sql", "slow_clients")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default="target/release/sembla")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=18)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], default=[])
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    if not os.path.exists(binary):
        sys.exit(f"{binary} does not exist; `make build` makes it, or name another one with --binary")
    names = options.suites or list(SUITES)
    share = 60 * options.minutes / len(names)
    broken = 0
    for name in names:
        place = Place(binary, f"{options.seed} {name}")
        try:
            said = SUITES[name](place, time.monotonic() + share)
            shutil.rmtree(place.path, ignore_errors=True)
        except Broken as error:
            broken += 1
            said = f"BROKEN: {error}\nits files are in {place.path}"
        print(f"{name}: {said}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
