#!/usr/bin/env bash
# Five million short texts through the static model: peak memory, then kill -9 in the middle, resume, and the same rows.
# Usage: benches/five_million.sh [ROWS]   PYTHON must have pyarrow (for the comparison at the end only).
set -euo pipefail
cd "$(dirname "$0")/.."
rows=${1:-5000000}
sembla=${SEMBLA:-${CARGO_TARGET_DIR:-target}/release/sembla}
python=${PYTHON:-python3}
work=${WORK:-.sembla/five-million}
mkdir -p "$work"
rm -rf "$work"/{whole,killed}.parquet*

if [ ! -f "$work/texts-$rows.parquet" ]; then
  "$sembla" sql "
    CREATE EXTERNAL TABLE questions STORED AS PARQUET LOCATION 'examples/data/banking77.parquet';
    COPY (SELECT (n - 1) * 13083 + id AS id, text || ' ' || CAST(n AS VARCHAR) AS text
          FROM questions CROSS JOIN (SELECT value AS n FROM generate_series(1, $rows / 13083 + 1)) AS copies
          WHERE (n - 1) * 13083 + id <= $rows)
    TO '$work/texts-$rows.parquet' STORED AS PARQUET"
fi

embed=("$sembla" embed "$work/texts-$rows.parquet" --column text -m potion -o)

# Runs a command, and samples its resident memory: the figures tell a flat line from a rising one.
measured() {
  "$@" &
  local child=$! peak=0 line="" now last=$SECONDS
  while kill -0 "$child" 2>/dev/null; do
    now=$(awk '/VmRSS/{print int($2/1024)}' "/proc/$child/status" 2>/dev/null || true)
    if [ -n "$now" ] && [ "$now" -gt "$peak" ]; then peak=$now; fi
    if [ $((SECONDS - last)) -ge 5 ]; then line="$line $now"; last=$SECONDS; fi
    sleep 0.2
  done
  wait "$child"
  echo "peak memory $peak MiB; every 5 s:$line"
}

echo "== $rows rows in one go"
measured "${embed[@]}" "$work/whole.parquet"

echo "== the same, killed twice"
parts() { find "$work/killed.parquet.partial/parts" -name 'part-*.parquet' 2>/dev/null | wc -l; }
for target in 2 5; do
  "${embed[@]}" "$work/killed.parquet" &
  child=$!
  while kill -0 "$child" 2>/dev/null && [ "$(parts)" -lt "$target" ]; do sleep 0.1; done
  sleep 1
  kill -9 "$child"
  wait "$child" 2>/dev/null || true
  echo "killed in the middle of a part; $(parts) parts are kept"
done
"${embed[@]}" "$work/killed.parquet"

echo "== the rows of both"
"$python" - "$work/whole.parquet" "$work/killed.parquet" <<'PYTHON'
import sys
import pyarrow.parquet as pq
import pyarrow as pa

def batches(path):
    for batch in pq.ParquetFile(path).iter_batches(50_000):
        yield pa.Table.from_batches([batch]).replace_schema_metadata(None)

def rows(path):
    rest = None
    for table in batches(path):
        rest = table if rest is None else pa.concat_tables([rest, table])
        while rest.num_rows >= 50_000:
            yield rest.slice(0, 50_000).combine_chunks()
            rest = rest.slice(50_000)
    if rest is not None and rest.num_rows:
        yield rest.combine_chunks()

total = 0
for one, two in zip(rows(sys.argv[1]), rows(sys.argv[2]), strict=True):
    if not one.equals(two):
        sys.exit(f"rows differ after row {total}")
    total += one.num_rows
print(f"{total} rows, all equal")
PYTHON
