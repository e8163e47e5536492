#!/usr/bin/env bash
# The sustained rate of Kafka → embed → tumble → topics → Kafka beside that of `sembla embed`, for one model, in one run.
#   benches/streams.sh [MODEL] [ROWS]        potion and 500000 unless given
# Where PEER_PYTHON is a Python with confluent-kafka and model2vec, the same records are also scored, text by text, by Sembla and
# by streams_vs_python.py (potion only).
# Starts a broker of its own (scripts/kafka.sh) and throws everything away in the end.
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-potion} rows=${2:-500000}
sembla=$(realpath "${SEMBLA:-${CARGO_TARGET_DIR:-target}/release/sembla}")
work=$(mktemp -d) port=$((20000 + RANDOM % 20000))
trap 'scripts/kafka.sh kill "$work/kafka" > /dev/null 2>&1 || true; rm -rf "$work"' EXIT
scripts/kafka.sh start "$work/kafka" "$port" >&2
servers=127.0.0.1:$port

measured() { # runs a command; prints its seconds, its peak memory and that after each quarter of its time, in MiB
  /usr/bin/env python3 - "$@" <<'PYTHON'
import resource, subprocess, sys, time

def resident(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS")), 0)
    except OSError:
        return 0

begun, samples = time.time(), []
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=sys.stderr)
while process.poll() is None:
    samples.append(resident(process.pid))
    time.sleep(0.1)
if process.returncode:
    sys.exit(process.returncode)
taken = time.time() - begun
samples = [sample for sample in samples if sample] or [0]
quarters = [samples[min(len(samples) - 1, len(samples) * n // 4)] for n in (1, 2, 3, 4)]
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
print(f"{taken:.2f} {peak} {'/'.join(map(str, quarters))}")
PYTHON
}

# Texts that differ: questions with a number each. One every 20 ms of event time.
"$sembla" sql --format csv "COPY (
  SELECT n.value AS id, concat(q.text, ' ', CAST(n.value AS VARCHAR)) AS text, to_timestamp_millis(1767225600000 + n.value * 20) AS ts
  FROM generate_series(0, $rows - 1) AS n JOIN 'examples/data/banking77.parquet' AS q ON q.id = n.value % 13083 + 1 ORDER BY id
) TO '$work/messages.parquet'" > /dev/null

cat > "$work/fill.sql" <<SQL
CREATE SOURCE file (id BIGINT, text VARCHAR, ts TIMESTAMP, WATERMARK FOR ts) WITH (connector = 'files', path = '$work/messages.parquet');
CREATE SINK messages WITH (connector = 'kafka', bootstrap_servers = '$servers', topic = 'messages', key = 'id', create_topics = 'true', partitions = '4');
INSERT INTO messages SELECT id, text, ts FROM file;
SQL
cat > "$work/topics.sql" <<SQL
CREATE SOURCE messages (id BIGINT, text VARCHAR NOT NULL, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
  WITH (connector = 'kafka', bootstrap_servers = '$servers', topic = 'messages', stop_at_end = 'true');
CREATE SINK topics WITH (connector = 'kafka', bootstrap_servers = '$servers', topic = 'topics', create_topics = 'true');
INSERT INTO topics SELECT window_start, topic_id, event, size, label FROM online_topic_table(tumble(messages, INTERVAL '1 minute'));
SQL
"$sembla" run "$work/fill.sql" --state "$work/state" >&2
read -r embed embed_mib _ < <(measured "$sembla" embed "$work/messages.parquet" -o "$work/vectors.parquet" --column text -m "$model")
read -r stream stream_mib quarters < <(measured "$sembla" run "$work/topics.sql" -m "$model" --state "$work/state")
python3 - "$model" "$rows" "$embed" "$stream" "$embed_mib" "$stream_mib" "$quarters" <<'PYTHON'
import sys
model, rows, embed, stream = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
print(f"{model}, {rows:,} rows: sembla embed {rows / embed:,.0f} rows/s ({sys.argv[5]} MiB), "
      f"Kafka to topics to Kafka {rows / stream:,.0f} rows/s ({sys.argv[6]} MiB; by quarters {sys.argv[7]}): {100 * embed / stream:.0f} %")
PYTHON

[ -n "${PEER_PYTHON:-}" ] || exit 0
cat > "$work/scores.sql" <<SQL
CREATE SOURCE messages (id BIGINT, text VARCHAR NOT NULL)
  WITH (connector = 'kafka', bootstrap_servers = '$servers', topic = 'messages', stop_at_end = 'true');
CREATE SINK scores WITH (connector = 'kafka', bootstrap_servers = '$servers', topic = 'scores', create_topics = 'true');
INSERT INTO scores SELECT id, similarity(text, 'my card was stolen') AS score FROM messages;
SQL
read -r own own_mib _ < <(measured "$sembla" run "$work/scores.sql" -m potion --state "$work/state")
read -r peer peer_mib _ < <(measured "$PEER_PYTHON" benches/streams_vs_python.py "$servers" messages scores \
  models/builtin/potion-base-4M-int8 "$rows")
python3 - "$rows" "$own" "$own_mib" "$peer" "$peer_mib" <<'PYTHON'
import sys
rows, own, peer = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[4])
print(f"scores, potion: Sembla, exactly once {rows / own:,.0f} rows/s ({sys.argv[3]} MiB); "
      f"Python, at least once {rows / peer:,.0f} rows/s ({sys.argv[5]} MiB): {peer / own:.1f}x")
PYTHON
