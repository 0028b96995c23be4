#!/usr/bin/env bash
# Shows in the job's summary what was built, and verifies it if that is asked for.
set -euo pipefail

: "${GITHUB_STEP_SUMMARY:?}"

case ${INPUT_VERIFY-} in
  true | false | '') ;;
  *)
    echo "::error::verify is true or false, not $INPUT_VERIFY"
    exit 1
    ;;
esac
if [[ -z ${DIGEST-} ]]; then
  echo "no image left the build: there is nothing to report"
  exit 0
fi
if [[ -n ${IMAGE-} ]]; then
  sociable inspect --json "$IMAGE" |
    jq -r -f "$(dirname "${BASH_SOURCE[0]}")/summary.jq" >> "$GITHUB_STEP_SUMMARY"
fi
if [[ ${INPUT_VERIFY-} == true ]]; then
  if [[ -z ${IMAGE-} ]]; then
    echo "::error::the image is not where it can be verified: it was not pushed, or the registry cannot be reached from here"
    exit 1
  fi
  sociable verify "$IMAGE"
fi
