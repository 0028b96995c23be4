#!/usr/bin/env bash
# What the two-stage blueprint and the one-stage build cost for the sample of deploy/aws: times, and bytes moved. Runs in a stack
# (cargo xtask stack up), as `cargo xtask stack exec bash benches/migration.sh FRONTEND BASE`: the image of the frontend, and one with Python
# and pip, both in the stack's registry.
set -euo pipefail
frontend=$1 base=$2 host=${frontend%%/*} here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
cp "$here"/../deploy/aws/sample/* "$work"
cd "$work"
log=/var/log/stack/registry.log

empty() { docker buildx prune --builder rem --all --force >/dev/null; }
# The bytes of blobs that the registry has sent, of one repository.
sent() { { grep -h "GET /v2/$1/blobs" "$log" || true; } | awk -F'"' '{ split($3, n, " "); sum += n[2] } END { print sum + 0 }'; }
# The bytes of blobs that a repository has.
has() { crane ls "$host/$1" >/dev/null && find "/var/lib/docker-registry/docker/registry/v2/repositories/$1/_layers/sha256" -mindepth 1 -maxdepth 1 -printf '%f\n' |
  while read -r digest; do stat -c %s "/var/lib/docker-registry/docker/registry/v2/blobs/sha256/${digest:0:2}/$digest/data"; done | awk '{ sum += $1 } END { print sum + 0 }'; }
step() { # NAME CMD…
  local start end
  start=$(date +%s.%N)
  "${@:2}" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  end=$(date +%s.%N)
  printf '%-28s %6.1f s\n' "$1" "$(echo "$end $start" | awk '{ print $1 - $2 }')"
}
buildx=(docker buildx build --builder rem --provenance=false --build-arg "BASE=$base")

echo "two stages"
empty
app=$host/migration-two
step "build and push" "${buildx[@]}" --tag "$app:1" --push .
before=$(sent migration-two)
step "ctr images pull" ctr images pull --plain-http "$app:1"
step "soci create" soci create "$app:1"
step "soci push" soci push --plain-http "$app:1"
echo "fetched back: $(($(sent migration-two) - before)) bytes"
echo "in the repository: $(has migration-two) bytes"

echo "one stage"
empty
app=$host/migration-one
step "build with its index" "${buildx[@]}" --build-arg "BUILDKIT_SYNTAX=$frontend" --build-arg "SOCI_PLAIN_HTTP=$host" \
  --build-arg SOCI_OUTPUT=push --build-arg "SOCI_REPO=$app:1" --output type=cacheonly .
echo "fetched back: $(sent migration-one) bytes"
echo "in the repository: $(has migration-one) bytes"
