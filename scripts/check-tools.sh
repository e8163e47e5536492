#!/usr/bin/env bash
# Says which tools are missing to build Sembla, all at once, before anything is downloaded or compiled.
# It looks for commands and versions only; it installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
lacks() { # lacks WHAT HOW TO GET IT
  missing+=("  $1: $2")
}

wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! command -v "${CARGO:-cargo}" > /dev/null; then
  lacks "Rust $wanted or newer" "https://rustup.rs"
else
  have=$("${CARGO:-cargo}" --version | sed 's/^cargo \([0-9.]*\).*/\1/')
  if [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -1)" != "$wanted" ]; then
    lacks "Rust $wanted or newer (this is $have)" "rustup update"
  fi
fi
for tool in cc c++ make perl; do
  command -v "$tool" > /dev/null \
    || lacks "$tool (a C and C++ compiler, make and Perl)" "apt-get install build-essential perl, or your system's equivalent"
done
if [ -z "${ORT_DYLIB_PATH:-}" ] && [ ! -f .sembla/onnxruntime/libonnxruntime.so ]; then
  if ! command -v python3 > /dev/null; then
    lacks "python3 with pip (to fetch ONNX Runtime)" "apt-get install python3 python3-pip"
  elif ! python3 -m pip --version > /dev/null 2>&1; then
    lacks "pip (to fetch ONNX Runtime)" "apt-get install python3-pip"
  fi
fi
if [ "${#missing[@]}" -gt 0 ]; then
  echo "To build Sembla this machine needs:" >&2
  printf '%s\n' "${missing[@]}" >&2
  exit 1
fi
free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1048576)}')
if [ "$free" -lt 8 ]; then
  echo "note: $free GiB are free on this disk; a build takes about 6" >&2
fi
