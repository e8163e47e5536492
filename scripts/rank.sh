#!/usr/bin/env bash
# Ranks models: rank.sh MODELS DATA ROWS OUT, as `make rank` calls it. The repository's own suite is always there; DATA is a
# folder of public data sets (see scripts/rank-data.py) and may be empty. Writes OUT.md, OUT.html and OUT.parquet.
set -euo pipefail
cd "$(dirname "$0")/.."
models=$1 data=$2 rows=$3 out=$4
sembla=${SEMBLA:-target/release/sembla}
suites=(--suite examples/suite)
if [ -n "$data" ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  python3 scripts/rank-data.py "$data" "$folder" --rows "${rows:-0}"
  suites+=(--suite "$folder")
fi
"$sembla" eval --models "$models" "${suites[@]}" --overwrite -o "$out.md" -o "$out.html" -o "$out.parquet"
