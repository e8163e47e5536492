#!/usr/bin/env bash
# Compares `sembla embed` with sentence-transformers on this machine. Usage: benches/run.sh [ROWS] [RUNS]
# Python is for measuring only. PYTHON names one that has the packages already; else a venv is made in .sembla/bench.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/fetch-minilm.sh
rows=${1:-20000}
runs=${2:-1}
python=${PYTHON:-}
if [ -z "$python" ]; then
  venv=.sembla/bench
  python=$venv/bin/python
  if [ ! -f "$venv/ready" ]; then
    echo "installing sentence-transformers 6.2.0 into $venv (about 1 GB, once)" >&2
    python3 -m venv "$venv"
    "$python" -m pip install --quiet --disable-pip-version-check \
      sentence-transformers==6.2.0
    touch "$venv/ready"
  fi
fi
exec "$python" benches/embed_vs_sentence_transformers.py --rows "$rows" --runs "$runs"
