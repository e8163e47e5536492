#!/usr/bin/env bash
# Makes, of the binary that `make build` left, an archive and a Python wheel that run on a Linux without a compiler: the
# binary, ONNX Runtime, the two models, completions, the man page and all licences. `make package` builds first.
#   scripts/package.sh [FOLDER]    .sembla/packages unless given
# Needs python3, objdump and strip (binutils), and cargo for the list of licences. It prints the glibc that the packages need, which
# is also in the wheel's name, and refuses when that is newer than GLIBC_MAX. To publish: CONTRIBUTING.md.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.sembla/packages}
sembla=${SEMBLA:-${CARGO_TARGET_DIR:-target}/release/sembla}
runtime=.sembla/onnxruntime
glibc_max=${GLIBC_MAX:-2.36} # that of Debian 12; Ubuntu 22.04 has 2.35

for file in "$sembla" "$runtime/libonnxruntime.so"; do
  [ -f "$file" ] || { echo "package.sh needs $file; run 'make build' first" >&2; exit 1; }
done
for tool in python3 objdump strip; do
  command -v "$tool" > /dev/null || { echo "package.sh needs $tool (apt-get install python3 binutils)" >&2; exit 1; }
done
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
machine=$(uname -m)

newest() { # newest PREFIX FILE… : the newest version of PREFIX_x.y that the files ask for
  objdump -T "${@:2}" | grep -o "\b$1_[0-9.]*[0-9]" | sed "s/^$1_//" | sort -Vu | tail -1
}
glibc=$(newest GLIBC "$sembla" "$runtime/libonnxruntime.so")
if [ "$(printf '%s\n%s\n' "$glibc" "$glibc_max" | sort -V | tail -1)" != "$glibc_max" ]; then
  echo "the binary needs glibc $glibc, newer than $glibc_max; build on an older system, or set GLIBC_MAX=$glibc" >&2
  exit 1
fi

# What every Linux has that PyPI's manylinux policy admits; anything else must be linked in.
stranger=$(objdump -p "$sembla" "$runtime/libonnxruntime.so" | awk '$1 == "NEEDED" {print $2}' | sort -u \
  | grep -Ev '^(ld-linux.*|lib(c|m|mvec|dl|rt|pthread|gcc_s|stdc\+\+|z))\.so\.[0-9]+$' || true)
if [ -n "$stranger" ]; then
  echo "the binary needs libraries that not every Linux has: $stranger" >&2
  exit 1
fi

name=sembla-$version-$machine-linux-gnu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/$name
mkdir -p "$tree/models" "$tree/licences" "$tree/completions" "$out"
install -m 755 "$sembla" "$tree/sembla"
strip "$tree/sembla"
install -m 755 "$runtime/libonnxruntime.so" "$tree/"
cp -r models/builtin "$tree/models/"
cp -r LICENSE README.md CHANGELOG.md docs "$tree/"
cp "$runtime/LICENSE" "$tree/licences/onnxruntime-LICENSE"
cp "$runtime/ThirdPartyNotices.txt" "$tree/licences/onnxruntime-ThirdPartyNotices.txt"
scripts/licences.py > "$tree/licences/crates.txt"
for shell in bash zsh fish; do
  "$tree/sembla" completions "$shell" > "$tree/completions/sembla.$shell"
done
"$tree/sembla" man > "$tree/sembla.1"

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || date +%s)}
export SOURCE_DATE_EPOCH
tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --directory "$work" "$name" \
  | gzip --no-name > "$out/$name.tar.gz"
wheel=$(scripts/make-wheel.py "$tree" "$out" "$version" "manylinux_${glibc/./_}_$machine")

echo "$out/$name.tar.gz ($(du -h "$out/$name.tar.gz" | cut -f1))"
echo "$wheel ($(du -h "$wheel" | cut -f1))"
echo "Both need glibc $glibc and libstdc++ with GLIBCXX_$(newest GLIBCXX "$sembla" "$runtime/libonnxruntime.so") or newer"
