#!/usr/bin/env bash
# fuzz.sh TARGET [SECONDS]: builds the fuzz targets with coverage and runs one of them. Any stable compiler will do.
# What was found interesting is kept in .sembla/fuzz/TARGET and is where the next run begins; a finding stops the run and
# is kept there too. The first call compiles everything anew, beside other builds.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
if [ "${1:-}" = --rustc ]; then
  # Cargo calls the compiler through here: our own crates tell the fuzzer which branches were taken.
  shift
  case " $* " in
    *" --crate-name build_script"*) exec "$@" ;;
    *" --crate-name sembla"* | *" fuzz/targets/"*)
      exec "$@" --cfg fuzzing -Cdebug-assertions=yes -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares ;;
  esac
  exec "$@"
fi
targets=$(cd "$root/fuzz/targets" && echo *.rs)
target=${1:-} seconds=${2:-600}
if [ ! -f "$root/fuzz/targets/$target.rs" ]; then
  echo "fuzz.sh: name one of the targets ${targets//.rs/} (and, if you like, the seconds: 600)" >&2
  exit 2
fi
cd "$root"
# A folder of its own: cargo would take crates with coverage for those without.
build=${CARGO_TARGET_DIR:-$(scripts/build-dir.sh)}
export CARGO_TARGET_DIR=$build-fuzz CARGO_INCREMENTAL=0
mkdir -p ".sembla/fuzz/$target/corpus" ".sembla/fuzz/$target/seed" ".sembla/fuzz/$target/tmp"
printf '#!/bin/sh\nexec "%s/scripts/fuzz.sh" --rustc "$@"\n' "$root" > .sembla/fuzz/rustc
chmod +x .sembla/fuzz/rustc
RUSTC_WRAPPER=$root/.sembla/fuzz/rustc cargo build --release --locked --package sembla-fuzz --features targets
python3 scripts/fuzz_seeds.py "$target" ".sembla/fuzz/$target/seed"
cd ".sembla/fuzz/$target"
export TMPDIR=$PWD/tmp ORT_DYLIB_PATH=${ORT_DYLIB_PATH:-$root/.sembla/onnxruntime/libonnxruntime.so}
exec "$CARGO_TARGET_DIR/release/$target" corpus seed -max_total_time="$seconds" -timeout=25 -rss_limit_mb=3000 \
  -max_len=65536 -print_final_stats=1
