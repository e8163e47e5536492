#!/usr/bin/env bash
# The demo: runs examples/demo.sql, showing each statement and its comment before the result.
set -euo pipefail
cd "$(dirname "$0")/.."
sembla=${SEMBLA:-target/release/sembla}
begun=$(date +%s)
"$sembla" sql --echo --timing --file examples/demo.sql
echo
echo "That took $(($(date +%s) - begun)) s on $(nproc) cores. Go on with your own questions: $sembla"
echo "Or look at a map of their topics: $sembla topics examples/data/banking77.parquet -m potion --report topics.html"
