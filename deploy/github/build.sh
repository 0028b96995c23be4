#!/usr/bin/env bash
# Makes the action's inputs the flags of `sociable build`, and what that says the action's outputs.
set -euo pipefail

: "${RUNNER_TEMP:?}" "${GITHUB_OUTPUT:?}"

dir=$(mktemp -d "$RUNNER_TEMP/build.XXXXXX")
trap 'rm -rf "$dir"' EXIT

flags=()

fail() {
  echo "::error::$1"
  exit 1
}

# each FLAG LINES: the flag for every line that is not empty
each() {
  local line
  while read -r line; do
    line=${line%$'\r'}
    if [[ -n $line ]]; then flags+=("$1$line"); fi
  done <<< "$2"
}

# if_true FLAG BOOLEAN
if_true() {
  case $2 in
    true) flags+=("$1") ;;
    false | '') ;;
    *) fail "${1#--} is true or false, not $2" ;;
  esac
}

# secret KIND LINE: a line ID=WHERE, where KIND is what buildx calls that
secret() {
  if [[ $2 != [!=]*=?* ]]; then fail "a secret is named ID=…"; fi
  flags+=("--secret=id=${2%%=*},$1=${2#*=}")
}

each --file= "${INPUT_FILE-}"
if_true --push "${INPUT_PUSH-}"
if_true --load "${INPUT_LOAD-}"
each --output= "${INPUT_OUTPUTS-}"
each --tag= "$(tr , '\n' <<< "${INPUT_TAGS-}")"
each --label= "${INPUT_LABELS-}"
each --annotation= "${INPUT_ANNOTATIONS-}"
each --build-arg= "${INPUT_BUILD_ARGS-}"
each --build-context= "${INPUT_BUILD_CONTEXTS-}"
each --platform= "${INPUT_PLATFORMS-}"
each --target= "${INPUT_TARGET-}"
each --cache-from= "${INPUT_CACHE_FROM-}"
each --cache-to= "${INPUT_CACHE_TO-}"
each --ssh= "${INPUT_SSH-}"
each --provenance= "${INPUT_PROVENANCE-}"
each --sbom= "${INPUT_SBOM-}"
if_true --no-cache "${INPUT_NO_CACHE-}"
if_true --pull "${INPUT_PULL-}"
each --network= "${INPUT_NETWORK-}"
each --allow= "${INPUT_ALLOW-}"
each --builder= "${INPUT_BUILDER-}"

# The value of a secret is in a file of ours, and in no argument and no environment of what runs below.
number=0
while read -r line; do
  line=${line%$'\r'}
  if [[ -z $line ]]; then continue; fi
  if [[ $line != [!=]*=* ]]; then fail "a line of secrets is not ID=VALUE"; fi
  # GitHub hides the secrets that it knows: perhaps the whole line, and not the value alone.
  if [[ ${GITHUB_ACTIONS-} == true && -n ${line#*=} ]]; then
    value=${line#*=}
    echo "::add-mask::${value//%/%25}"
  fi
  number=$((number + 1))
  (umask 077 && printf '%s' "${line#*=}" > "$dir/secret-$number")
  secret src "${line%%=*}=$dir/secret-$number"
done <<< "${INPUT_SECRETS-}"
unset INPUT_SECRETS line value
while read -r line; do
  if [[ -n $line ]]; then secret src "$line"; fi
done <<< "${INPUT_SECRET_FILES-}"
while read -r line; do
  if [[ -n $line ]]; then secret env "$line"; fi
done <<< "${INPUT_SECRET_ENVS-}"

each --frontend= "${INPUT_FRONTEND-}"
each --soci-span-size= "${INPUT_SPAN_SIZE-}"
each --soci-min-layer-size= "${INPUT_MIN_LAYER_SIZE-}"
each --soci-policy= "${INPUT_POLICY-}"
each --soci-prefetch= "${INPUT_PREFETCH-}"
each "" "${INPUT_FLAGS-}"

echo '{}' > "$dir/metadata.json"
sociable build --json --metadata-file "$dir/metadata.json" "${flags[@]}" "${INPUT_CONTEXT:-.}" > "$dir/made.json"

made() { jq -r "$1" "$dir/made.json"; }
digest=$(made '.digest // empty')
index=$(made '[.images[0].platforms[]?.soci_index.digest | values] | join(",")')
# Where the image is, under its digest: somebody else may move the tag.
image=$(made '.images[0] | values
  | if (.place | startswith("docker://")) and (.place | contains("@") | not) then "\(.place)@\(.digest)" else .place end')
metadata=$(jq -c . "$dir/metadata.json")
{
  printf 'digest=%s\n' "$digest"
  printf 'soci-index-digest=%s\n' "$index"
  printf 'image=%s\n' "$image"
  printf 'metadata=%s\n' "$metadata"
} >> "$GITHUB_OUTPUT"
