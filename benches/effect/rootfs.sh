#!/bin/bash
# rootfs.sh DIR PACKAGE…: a root file system of Debian bookworm with these packages, as a container's image has it. Needs root and apt.
set -euo pipefail
DIR=$1; shift
ROOT=$DIR.new LOG=$DIR.log
logged() { "$@" >>"$LOG" 2>&1 || { tail -n 20 "$LOG" >&2; echo "failed: $*" >&2; exit 1; }; }
# The mirror that apt itself uses; empty before the first update, and on another distribution.
mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null | { grep -v security || true; } | head -n 1; }
export DEBIAN_FRONTEND=noninteractive

rm -rf "$ROOT" "$DIR"
: >"$LOG"
if ! command -v debootstrap >/dev/null || [[ -z $(mirror) ]]; then
  logged apt-get -qq update
  logged apt-get -qq -y install debootstrap debian-archive-keyring
fi
from=$(mirror)
logged debootstrap --variant=minbase bookworm "$ROOT" ${from:+"$from"}
# A mirror may be a frozen copy whose Release file is past its date; signatures are checked all the same.
apt="apt-get -y -o Acquire::Check-Valid-Until=false -o APT::Install-Recommends=false -o APT::Sandbox::User=root"
cp /etc/resolv.conf "$ROOT/etc/resolv.conf"
# shellcheck disable=SC2016 # expanded by the inner shell
logged unshare --mount bash -euc '
  mount --make-rprivate /
  mount -t proc proc "$0/proc"
  chroot "$0" $1 update
  chroot "$0" $1 -o Dpkg::Options::=--force-unsafe-io install ${@:2}' "$ROOT" "$apt" "$@"

# What differs from day to day and from machine to machine, and is in nobody's image.
rm -rf "$ROOT"/var/{cache,log}/* "$ROOT"/var/lib/apt/lists/* "$ROOT"/var/lib/dpkg/*-old "$ROOT"/tmp/* "$ROOT"/etc/{resolv.conf,hostname,machine-id}
# Headers, 15,000 of them, which are here because Debian's SciPy depends on a compiler that wants them.
rm -rf "$ROOT/usr/include/boost"
mv "$ROOT" "$DIR"
