#!/usr/bin/env bash
# Prints the folder in which make has crates compiled where CARGO_TARGET_DIR is not set: one in the user's cache, which all
# checkouts share. Cargo takes it as CARGO_BUILD_BUILD_DIR. Without a home folder that can be written to it is target/.
set -euo pipefail
folder=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
if [ -n "$folder" ] && mkdir -p "$folder/sembla/target" 2> /dev/null && [ -w "$folder/sembla/target" ]; then
  echo "$folder/sembla/target"
else
  echo target
fi
