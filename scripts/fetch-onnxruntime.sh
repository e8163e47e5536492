#!/usr/bin/env bash
# Fetches ONNX Runtime's shared library from PyPI's wheel into .sembla/onnxruntime, checked against pinned hashes.
# Asks pip, so that a mirror or a proxy configured for pip is honoured. Does nothing when the right version is there.
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.32.0
folder=.sembla/onnxruntime
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64)  platforms=(manylinux_2_27_x86_64 manylinux_2_28_x86_64) hash=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d ;;
  Linux-aarch64) platforms=(manylinux_2_27_aarch64 manylinux_2_28_aarch64) hash=2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c ;;
  *) echo "no pinned ONNX Runtime for $(uname -sm); set ORT_DYLIB_PATH to a libonnxruntime of 1.18 or later" >&2; exit 1 ;;
esac

if [ -f "$folder/libonnxruntime.so" ] && [ "$(cat "$folder/VERSION" 2>/dev/null)" = "$version" ]; then
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "fetching ONNX Runtime $version" >&2
printf 'onnxruntime==%s --hash=sha256:%s\n' "$version" "$hash" > "$work/requirements.txt"
platform_flags=()
for platform in "${platforms[@]}"; do platform_flags+=(--platform "$platform"); done
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
  "${platform_flags[@]}" --require-hashes --requirement "$work/requirements.txt" --dest "$work"
python3 - "$work" "$folder" "$version" <<'PYTHON'
import pathlib, sys, zipfile
work, folder, version = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
folder.mkdir(parents=True, exist_ok=True)
wheel = zipfile.ZipFile(next(work.glob("*.whl")))
for name in wheel.namelist():
    base = name.rsplit("/", 1)[-1]
    if name.startswith("onnxruntime/capi/libonnxruntime.so"):
        part = folder / "libonnxruntime.so.part"
        part.write_bytes(wheel.read(name))
        part.replace(folder / "libonnxruntime.so")
    elif base in ("LICENSE", "ThirdPartyNotices.txt"):
        (folder / base).write_bytes(wheel.read(name))
(folder / "VERSION").write_text(version)
PYTHON
