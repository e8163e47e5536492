#!/usr/bin/env bash
# Tries the packages that package.sh made in a bare Debian folder, as a user without rights and without network: the archive
# unpacked and moved elsewhere, and the wheel in a virtual environment. As root, with debootstrap and a Debian mirror.
#   scripts/try-package.sh [PACKAGES] [FOLDER]    .sembla/packages, and a new folder under /tmp that goes afterwards
set -euo pipefail
cd "$(dirname "$0")/.."
packages=$(realpath "${1:-.sembla/packages}")
given=${2:-}
root=${given:-$(mktemp -d)}
archive=$(ls "$packages"/sembla-*-linux-gnu.tar.gz) wheel=$(ls "$packages"/sembla-*.whl)

if [ ! -x "$root/usr/bin/python3" ]; then
  mkdir -p "$root"
  chmod 755 "$root"
  echo "Debian in $root" >&2
  debootstrap --variant=minbase --include=python3-venv bookworm "$root" > /dev/null
fi
chroot "$root" id tester > /dev/null 2>&1 || chroot "$root" useradd --create-home tester
rm -rf "$root/opt/moved" "$root/home/tester/venv"
mkdir -p "$root/opt/moved" "$root/packages"
cp "$archive" "$wheel" "$root/packages/"
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT

as_user() { # without network: a namespace of its own
  unshare --net chroot --userspec=tester "$root" env -i PATH=/usr/bin:/bin HOME=/home/tester sh -ec "cd; $1"
}
try() { # try SEMBLA : what a first user does
  as_user "$1 --version"
  as_user "$1 sql \"SELECT round(similarity('my card was stolen', 'someone took my card'), 2) AS score\""
  as_user "$1 sql -m potion \"SELECT vector_dims(embed('a text')) AS components\""
  as_user "printf 'id,text\n1,my card was stolen\n2,rain is falling\n' > texts.csv; $1 search texts.csv --query 'card' --top-k 1"
}

echo "the archive, unpacked and moved" >&2
chroot "$root" sh -ec "tar xf /packages/$(basename "$archive") -C /opt/moved && mv /opt/moved/sembla-* /opt/moved/sembla"
try /opt/moved/sembla/sembla
echo "the wheel, in a virtual environment" >&2
as_user "python3 -m venv venv && venv/bin/pip install --quiet --no-index /packages/$(basename "$wheel")"
try venv/bin/sembla
as_user "ln -sf ~/venv/bin/sembla link && ./link models list"

umount "$root/proc"
trap - EXIT
[ -n "$given" ] || rm -rf "$root"
echo "both packages run" >&2
