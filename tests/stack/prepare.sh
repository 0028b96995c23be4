#!/bin/bash
# Makes what every stack is started from, in $LAB: a Debian root file system with the tools of containers, and the peers that
# Debian has in another version, or not at all, built from the Go module proxy. Each is made again when its recipe changes.
set -euo pipefail
HERE=$(dirname "$(readlink -f "$0")")
LAB=${LAB:-$HOME/.cache/sociable-stack}
ROOT=$LAB/root BIN=$LAB/bin LOGS=$LAB/logs
SUITE=sid PACKAGES="docker.io docker-cli docker-buildx containerd runc soci-snapshotter docker-registry crane oras skopeo buildah
 awscli jq python3-pip busybox-static iproute2 procps fuse3 ca-certificates openssl netavark aardvark-dns tini-static"
PACKAGES=${PACKAGES//$'\n'/}
mkdir -p "$ROOT" "$BIN" "$LOGS"
exec 9>"$LAB/lock"
flock 9
# What this machine cannot do is no failure of a recipe.
impossible() { echo "no stack can be prepared: $*"; exit 75; }
say() { echo "[stack $(date +%T)] $*" >&2; }
logged() { # NAME CMD…
  "${@:2}" >"$LOGS/$1.log" 2>&1 || { say "$1 failed:"; tail -n 20 "$LOGS/$1.log" >&2; return 1; }
}

# The mirror that apt itself uses; empty before the first update, and on another distribution.
mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null | { grep -v security || true; } | head -n 1; }

debian() {
  local from
  if ! command -v debootstrap >/dev/null || [[ -z $(mirror) ]]; then
    command -v apt-get >/dev/null || impossible "its root file system is made by debootstrap, which is not here, nor apt"
    logged apt-update apt-get -qq update || impossible "apt-get update fails"
    DEBIAN_FRONTEND=noninteractive logged apt-install apt-get -qq -y install debootstrap debian-archive-keyring || impossible "no debootstrap"
  fi
  from=$(mirror)
  if [[ ! -x $ROOT/usr/bin/apt-get || ! -e $ROOT/etc/apt/sources.list ]]; then
    say "Debian $SUITE"
    rm -rf "$ROOT"
    logged debootstrap debootstrap --variant=minbase "$SUITE" "$ROOT" ${from:+"$from"}
  fi
  # A mirror may be a frozen copy whose Release file is past its date; signatures are checked all the same.
  echo 'Acquire::Check-Valid-Until "false"; APT::Install-Recommends "false"; APT::Sandbox::User "root";' >"$ROOT/etc/apt/apt.conf.d/99stack"
  echo force-unsafe-io >"$ROOT/etc/dpkg/dpkg.cfg.d/stack" # no fsync a file
  printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d" # no service is started
  chmod +x "$ROOT/usr/sbin/policy-rc.d"
  cp /etc/resolv.conf "$ROOT/etc/resolv.conf"
  say "packages"
  # shellcheck disable=SC2016 # expanded by the inner shell
  logged packages unshare --mount bash -c '
    mount --make-rprivate /
    mount -t proc proc "$0/proc"
    export DEBIAN_FRONTEND=noninteractive
    chroot "$0" apt-get update && chroot "$0" apt-get -y -f install $1 && chroot "$0" apt-get clean' "$ROOT" "$PACKAGES"
}

peers() {
  cd "$HERE/peers"
  command -v go >/dev/null || impossible "its peers are built by Go, which is not here"
  logged modules go mod download || impossible "go mod download fails"
  say "snapshotter and buildkitd"
  CGO_ENABLED=1 logged snapshotter go build -trimpath -o "$BIN/" ./snapshotter # needs a C compiler
  CGO_ENABLED=0 logged buildkitd go build -trimpath -o "$BIN/" github.com/moby/buildkit/cmd/buildkitd
}

# Makes something unless it was made from the same recipe.
made() { # NAME RECIPE
  local stamp=$LAB/$1.made
  [[ $(cat "$stamp" 2>/dev/null) != "$2" ]] || return 0
  local start=$SECONDS
  rm -f "$stamp"
  "$1"
  echo "$2" >"$stamp"
  say "$1: $((SECONDS - start)) s"
}
made debian "$SUITE $PACKAGES"
made peers "$(cat "$HERE"/peers/go.{mod,sum} "$HERE"/peers/snapshotter/*.go | sha256sum)"
