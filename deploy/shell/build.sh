#!/bin/sh
# Builds an image with its SOCI index and pushes both, wherever there is docker and a shell.
set -eu

usage() {
  cat << 'END'
Usage: build.sh IMAGE [FLAGS of sociable build] CONTEXT

Builds CONTEXT and pushes it as IMAGE (HOST/REPO:TAG) with a SOCI index. Standard output is

  IMAGE_DIGEST=sha256:…
  SOCI_INDEX_DIGEST=sha256:…    with several platforms one for each, with commas between them

and everything else goes to standard error. Docker has to be logged in at HOST.

Environment:
  SOCIABLE_IMAGE   the image to take the program from, if it is not on PATH
                   [default: ghcr.io/sociable/sociable:0.1.0]
  SOCIABLE_VERIFY  true: read everything again and check each claim of the index
  SOCIABLE_REPORT  the file for what is standard output otherwise; it may be in CONTEXT, as it is
                   removed before the build and written after it
  BUILDX_BUILDER   the builder [default: sociable, which is made if it is not there]
END
}

case ${1-} in
  -h | --help)
    usage
    exit
    ;;
esac
if [ $# -lt 2 ]; then
  usage >&2
  exit 2
fi
image=$1
shift
case ${SOCIABLE_VERIFY-} in
  true | false | '') ;;
  *)
    echo "build.sh: SOCIABLE_VERIFY is true or false, not $SOCIABLE_VERIFY" >&2
    exit 2
    ;;
esac

if [ -n "${SOCIABLE_REPORT-}" ]; then rm -f "$SOCIABLE_REPORT"; fi

temporary=$(mktemp -d)
container=
trap 'rm -rf "$temporary"; [ -z "$container" ] || docker rm "$container" > /dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if ! command -v sociable > /dev/null; then
  container=$(docker create "${SOCIABLE_IMAGE:-ghcr.io/sociable/sociable:0.1.0}")
  docker cp "$container:/usr/local/bin/sociable" "$temporary/" >&2
  docker rm "$container" > /dev/null
  container=
  PATH=$temporary:$PATH
fi

# Docker's older image store cannot do it; a builder in a container can, and keeps its cache from run to run.
if [ -z "${BUILDX_BUILDER-}" ]; then
  export BUILDX_BUILDER=sociable
  if ! docker buildx inspect sociable > /dev/null 2>&1; then
    docker buildx create --name sociable --driver docker-container >&2
  fi
fi

made=$temporary/made
sociable build --push --tag "$image" "$@" > "$made"
cat "$made" >&2

digest=$(awk '$1 == "image" { print $2; exit }' "$made")
indexes=$(awk '$1 == "index" { print $3 }' "$made" | paste -s -d , -)
if [ "${SOCIABLE_VERIFY-}" = true ]; then
  sociable verify "docker://$image@$digest" >&2
fi
if [ -n "${SOCIABLE_REPORT-}" ]; then exec > "$SOCIABLE_REPORT"; fi
printf 'IMAGE_DIGEST=%s\nSOCI_INDEX_DIGEST=%s\n' "$digest" "$indexes"
