#!/usr/bin/env bash
# Measures models on a GPU: parity with the processor, texts and tokens per second, in f32 and f16, unpadded and padded, beside
# sentence-transformers in fp16 where that is installed. Uses nothing of the network. Writes one JSON.
#   benches/gpu.sh [--device cuda:0] [--out gpu.json] [--seconds 450] [--dry-run]
#   benches/gpu.sh --device cpu      the same steps on a processor, with models of one layer and few texts: a test of this script
# Needs python3, cargo's target folder with the example `throughput` (or a toolchain and fetched crates to build it), and ONNX Runtime for CUDA
# (docs/gpu.md). THROUGHPUT names the program, if it is elsewhere. Once the seconds are used up, what is left is skipped and listed.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

device=cuda:0 out=gpu.json seconds=450 dry=
usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; }
while [ $# -gt 0 ]; do
  case "$1" in
    --device|--out|--seconds)
      [ $# -ge 2 ] || { echo "$1 needs a value" >&2; exit 2; }
      case "$1" in --device) device=$2 ;; --out) out=$2 ;; --seconds) seconds=$2 ;; esac
      shift 2 ;;
    --dry-run) dry=1; shift ;;
    --help|-h) usage; exit 0 ;;
    *) echo "unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done
case "$out" in /*) ;; *) out=$here/$out ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
helper=benches/gpu.py
lengths=(16 64 256 512)
if [ "$device" = cpu ]; then
  layers=1 tokens=4096 parity=4 runs=1
  variants=("precision=f32 padding=none" "precision=f32 padding=longest")
else
  layers=0 tokens=2000000 parity=16 runs=3
  variants=("precision=f16 padding=none" "precision=f16 padding=longest" "precision=f32 padding=none" "precision=f32 padding=longest")
fi

# Runs a command, or shows it; its standard output goes to a file, and it may take a minute and what is left of all time.
step() {
  local target=$1 what=$2
  shift 2
  if [ -n "$dry" ]; then
    printf '%s:' "$what" >&2; printf ' %q' "$@" >&2; echo >&2
    return 0
  fi
  local left=$((seconds - SECONDS))
  if [ "$left" -le 5 ]; then
    python3 "$helper" note skipped "$what" "no time left" >> "$work/notes"
    return 0
  fi
  [ "$left" -le 60 ] || left=60
  echo "$what" >&2
  if ! timeout "$left" "$@" >> "$target" 2> "$work/stderr"; then
    tail -3 "$work/stderr" >&2
    python3 "$helper" note failed "$what" "$(tail -1 "$work/stderr")" >> "$work/notes"
  fi
}

throughput=${THROUGHPUT:-${CARGO_TARGET_DIR:-target}/release/examples/throughput}
if [ ! -x "$throughput" ] && [ -z "$dry" ]; then
  echo "building $throughput" >&2
  cargo build --release --offline --package sembla-models --example throughput
fi

touch "$work/measured" "$work/notes"
files=()
for length in "${lengths[@]}"; do files+=("$work/texts/$length.txt"); done
step /dev/null "texts of ${lengths[*]} tokens" python3 "$helper" texts "$work/texts" "$tokens" "${lengths[@]}"
step /dev/null "models" python3 "$helper" models "$work/models" "$layers"
for model in all-MiniLM-L6-v2 bge-small-en-v1.5 all-mpnet-base-v2; do
  for variant in "${variants[@]}"; do
    read -ra options <<< "$variant"
    step "$work/measured" "$model $variant" python3 "$helper" run "$throughput" "$work/models/$model" "device=$device" "${options[@]}" \
      "runs=$runs" "parity=$parity" "${files[@]}"
  done
  step "$work/measured" "$model sentence-transformers" python3 "$helper" peer "$work/models/$model" "$device" "$runs" "${files[@]}"
done
[ -n "$dry" ] || python3 "$helper" join "$work" "$device" "$SECONDS" "$out"
