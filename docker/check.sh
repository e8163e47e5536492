#!/usr/bin/env bash
# Tries the last stage of docker/Dockerfile without a container engine: a plain Debian folder with the packages that the file names, the
# binary as built here (`make build`), and a query as the image's user. As root, with debootstrap and a Debian mirror.
#   docker/check.sh [FOLDER]     a new folder under /tmp unless given; it stays when something fails
# Says nothing of the stages that build, and of what an engine adds: networks, volumes, limits.
set -euo pipefail
cd "$(dirname "$0")/.."
root=${1:-$(mktemp -d)}
mkdir -p "$root"
chmod 755 "$root"
last_stage=$(sed '1,/^FROM debian/d' docker/Dockerfile)
packages=$(grep -o 'install --yes --no-install-recommends .*' <<< "$last_stage" | head -1 | cut -d' ' -f4- | tr -d '\\' | xargs | tr ' ' ',')
user=$(grep -o 'uid [0-9]*' <<< "$last_stage" | cut -d' ' -f2)
echo "Debian with $packages in $root, user $user" >&2
debootstrap --variant=minbase --include="$packages" bookworm "$root" > /dev/null
chroot "$root" useradd --create-home --uid "$user" sembla
mkdir -p "$root/opt/sembla/models" "$root/data" "$root/pipelines"
cp "${SEMBLA:-${CARGO_TARGET_DIR:-target}/release/sembla}" .sembla/onnxruntime/libonnxruntime.so "$root/opt/sembla/"
cp -r models/builtin "$root/opt/sembla/models/"
cp docker/pipelines/*.sql "$root/pipelines/"
ln -s /opt/sembla/sembla "$root/usr/local/bin/sembla"
chown "$user" "$root/data"
trap 'umount "$root/proc"' EXIT
mount -t proc proc "$root/proc"
as_user() {
  chroot --userspec="$user" "$root" env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/home/sembla sh -c "cd /data && $1"
}
as_user "sembla --version"
as_user "sembla sql \"SELECT round(similarity('my card was stolen', 'someone took my card'), 2) AS score\""
as_user "sembla sql -m potion \"SELECT vector_dims(embed('a text')) AS components\""
as_user "sembla run --dry-run /pipelines/topics.sql"
umount "$root/proc"
trap - EXIT
rm -rf "$root"
echo "the last stage of docker/Dockerfile runs" >&2
