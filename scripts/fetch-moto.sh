#!/usr/bin/env bash
# Makes a Python environment in .sembla/moto with moto, a server that speaks S3, for tests of object stores. The product
# does not need it.
set -euo pipefail
cd "$(dirname "$0")/.."

version=5.2.5
folder=.sembla/moto

if [ -x "$folder/bin/moto_server" ] && [ "$(cat "$folder/version" 2>/dev/null)" = "$version" ]; then
  exit 0
fi
echo "fetching moto" >&2
rm -rf "$folder"
python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "moto[s3,server]==$version"
echo "$version" > "$folder/version"
