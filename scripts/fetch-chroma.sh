#!/usr/bin/env bash
# Makes a Python environment in .sembla/chroma with Chroma, a vector store, for the tests of its connector. The product does
# not need it: it speaks to any server. Once fetched nothing is downloaded again.
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.5.9
folder=.sembla/chroma

if [ -x "$folder/bin/chroma" ] && [ "$(cat "$folder/version" 2>/dev/null)" = "$version" ]; then
  exit 0
fi
echo "fetching Chroma" >&2
rm -rf "$folder"
python3 -m venv "$folder"
if ! "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "chromadb==$version" >&2; then
  echo "chromadb $version could not be fetched; pip needs PyPI or a mirror of it" >&2
  exit 1
fi
echo "$version" > "$folder/version"
