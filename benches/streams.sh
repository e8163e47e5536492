#!/usr/bin/env bash
# The sustained rate of Kafka → embed → tumble → topics → Kafka beside that of `sembla embed`, for one model, in one run.
#   benches/streams.sh [MODEL] [ROWS]        potion and 500000 unless given
# Starts a broker of its own (scripts/kafka.sh) and throws everything away in the end.
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-potion} rows=${2:-500000}
sembla=${SEMBLA:-$PWD/target/release/sembla}
work=$(mktemp -d) port=$((20000 + RANDOM % 20000))
trap 'scripts/kafka.sh kill "$work/kafka" > /dev/null 2>&1 || true; rm -rf "$work"' EXIT
scripts/kafka.sh start "$work/kafka" "$port" >&2
servers=127.0.0.1:$port

seconds() { # runs a command; prints its seconds and its peak memory in MiB
  /usr/bin/env python3 - "$@" <<'PYTHON'
import resource, subprocess, sys, time
begun = time.time()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr)
taken = time.time() - begun
print(f"{taken:.2f} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024}")
PYTHON
}

# Texts that differ: questions with a number each. One every 20 ms of event time.
"$sembla" sql --format csv "COPY (
  SELECT n.value AS id, concat(q.text, ' ', CAST(n.value AS VARCHAR)) AS text, to_timestamp_millis(1767225600000 + n.value * 20) AS ts
  FROM generate_series(0, $rows - 1) AS n JOIN 'examples/data/banking77.parquet' AS q ON q.id = n.value % 13083 ORDER BY id
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
read -r embed embed_mib < <(seconds "$sembla" embed "$work/messages.parquet" -o "$work/vectors.parquet" --column text -m "$model")
read -r stream stream_mib < <(seconds "$sembla" run "$work/topics.sql" -m "$model" --state "$work/state")
python3 - "$model" "$rows" "$embed" "$stream" "$embed_mib" "$stream_mib" <<'PYTHON'
import sys
model, rows, embed, stream = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
print(f"{model}, {rows:,} rows: sembla embed {rows / embed:,.0f} rows/s ({sys.argv[5]} MiB), "
      f"Kafka to topics to Kafka {rows / stream:,.0f} rows/s ({sys.argv[6]} MiB): {100 * embed / stream:.0f} %")
PYTHON
