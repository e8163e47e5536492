#!/usr/bin/env bash
# The demo: runs examples/demo.sql, showing each statement and its comment before the result.
#   examples/demo.sh --announce   only says what is going to happen, and checks that it can
set -euo pipefail
cd "$(dirname "$0")/.."
sembla=${SEMBLA:-${CARGO_TARGET_DIR:-target}/release/sembla}
if [ "${1:-}" = --announce ]; then
  scripts/check-tools.sh
  if [ -x "$sembla" ]; then
    first="brings $sembla up to date"
  else
    first="fetches ONNX Runtime (20 MB) and builds $sembla: 5 to 10 minutes on eight cores, up to 45 on two, once"
  fi
  cat << SAY
The demo
  1. $first
  2. searches, compares, deduplicates and sorts by topic 13,083 questions that customers asked a bank: 5 to 30 s on two cores

SAY
  exit
fi
if [ ! -x "$sembla" ]; then
  echo "there is no $sembla; 'make build' makes it, SEMBLA names another" >&2
  exit 1
fi
begun=$(date +%s)
"$sembla" sql --echo --timing --file examples/demo.sql
echo
echo "That took $(($(date +%s) - begun)) s on $(nproc) cores. Next, ask your own questions: $sembla"
echo "Or look at a map of their topics: $sembla topics examples/data/banking77.parquet -m potion --report topics.html"
