#!/usr/bin/env bash
# Runs a command where Swift 6 is: on this machine if it has Swift, otherwise in a Debian 13 that is made for it once.
#
#   ios/trixie.sh swift --version
#
# That Debian lies in $HEARTH_SWIFT (by default ~/.cache/hearth/trixie) and takes 3.6 GB. Making and entering it needs root or
# sudo. It shares the checkout, /tmp, /proc and /dev with this machine only while a command runs: the mounts belong to a mount
# namespace of the command's own and end with it, however it ends.
set -euo pipefail
checkout=$(realpath "$(dirname "$0")/..")
root=${HEARTH_SWIFT:-$HOME/.cache/hearth/trixie}
mirror=${HEARTH_DEBIAN:-http://deb.debian.org/debian}

fail() {
    echo "ios/trixie.sh: $1" >&2
    exit 1
}

if command -v swift >/dev/null; then
    exec "$@"
fi

as_root=()
if ((EUID != 0)); then
    sudo -n true 2>/dev/null || fail "there is no Swift on this machine, and making a Debian that has it needs root or sudo"
    as_root=(sudo)
fi

"${as_root[@]}" unshare --mount true 2>/dev/null ||
    fail "there is no Swift on this machine, and this container may not mount what a Debian that has it needs"

make_root() {
    if ! command -v debootstrap >/dev/null; then
        "${as_root[@]}" apt-get update -q
        "${as_root[@]}" apt-get install -y -q --no-install-recommends debootstrap debian-archive-keyring
    fi
    # Made under another name, so that what was interrupted is never taken for the whole.
    "${as_root[@]}" rm -rf "$root.new"
    mkdir -p "$(dirname "$root")"
    "${as_root[@]}" debootstrap --variant=minbase trixie "$root.new" "$mirror"
    # shellcheck disable=SC2016
    "${as_root[@]}" unshare --mount bash -euc '
        mount --bind /proc "$1/proc"
        mount --bind /dev "$1/dev"
        export DEBIAN_FRONTEND=noninteractive
        chroot "$1" apt-get update -q
        chroot "$1" apt-get install -y -q --no-install-recommends \
            swiftlang libc6-dev libstdc++-14-dev binutils ca-certificates git
        chroot "$1" apt-get clean' make "$root.new"
    "${as_root[@]}" mv --no-target-directory "$root.new" "$root"
}

# A link that leads somewhere only from within.
[[ -L $root/usr/bin/swift || -x $root/usr/bin/swift ]] || make_root

# shellcheck disable=SC2016
exec "${as_root[@]}" unshare --mount bash -euc '
    root=$1 checkout=$2 folder=$3 user=$4
    shift 4
    mkdir -p "$root$checkout"
    mount --bind /proc "$root/proc"
    mount --bind /dev "$root/dev"
    mount --bind /tmp "$root/tmp"
    # What Swift leaves behind goes with the mount.
    mount -t tmpfs -o mode=1777 tmpfs "$root/run"
    mount --bind "$checkout" "$root$checkout"
    exec chroot --userspec="$user" "$root" env -i HOME=/var/tmp TMPDIR=/run LANG=C.UTF-8 \
        PATH=/usr/local/bin:/usr/bin:/bin bash -c "cd \"\$0\" && exec \"\$@\"" "$folder" "$@"
    ' enter "$root" "$checkout" "$PWD" "$(id -u):$(id -g)" "$@"
