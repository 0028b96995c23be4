#!/usr/bin/env bash
# Tests and builds the policies that are named, or all, into dist/.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p dist

rust() {
  # The component says where it panicked: by the same name on every machine.
  local root
  root=$(cd .. && pwd)
  RUSTFLAGS="--remap-path-prefix=$root=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo" \
    cargo build --quiet --release --target wasm32-unknown-unknown --package "sociable-$1"
  cp "target/wasm32-unknown-unknown/release/sociable_${1//-/_}.wasm" "dist/$1.wasm"
}

javascript() (
  cd "$1"
  node --test --test-reporter dot
  npm ci --silent
  npm run --silent build
  cp "dist/$1.wasm" ../dist/
)

python() (
  cd "$1"
  python3 -m unittest --quiet
  python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
  # Without WASI a policy cannot import anything but its log.
  .venv/bin/componentize-py --quiet --wit-path wit --world policy \
    componentize --stub-wasi --python-path src --output "../dist/$1.wasm" app
)

[ $# -gt 0 ] || set -- file-aligned startup-order file-type-compression ml-weights
for name; do
  case $name in
    file-type-compression) javascript "$name" ;;
    ml-weights) python "$name" ;;
    *)
      cargo test --quiet --package "sociable-$name"
      rust "$name"
      ;;
  esac
  echo "$(wc -c < "dist/$name.wasm") dist/$name.wasm"
done
