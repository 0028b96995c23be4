#!/usr/bin/env bash
# Copies the program out of its image and puts it on the path of the steps that follow.
set -euo pipefail

: "${INPUT_SOCIABLE_IMAGE:?}" "${RUNNER_TEMP:?}" "${GITHUB_PATH:?}"

if ! command -v jq > /dev/null; then
  echo "::error::jq is not installed on this runner"
  exit 1
fi
dir=$RUNNER_TEMP/sociable
mkdir -p "$dir"
container=$(docker create "$INPUT_SOCIABLE_IMAGE")
trap 'docker rm "$container" > /dev/null' EXIT
docker cp "$container:/usr/local/bin/sociable" "$dir/"
"$dir/sociable" --version
printf '%s\n' "$dir" >> "$GITHUB_PATH"
