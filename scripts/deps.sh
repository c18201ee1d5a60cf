#!/usr/bin/env bash
# Installs the Debian packages that building and testing dpone needs; asks for root only when one is missing.
# usage: scripts/deps.sh build|test|lint|fuzz|bench|coverage|browser   (each word adds a group)
set -euo pipefail

packages_of() {
  case "$1" in
    build) echo gcc libc6-dev make cmake ninja-build pkg-config libpq-dev libsqlite3-dev libmicrohttpd-dev \
                libjansson-dev libssl-dev libcurl4-openssl-dev libzstd-dev ca-certificates python3 curl ;;
    test) echo libcmocka-dev postgresql postgresql-15-wal2json sqlite3 openssl procps util-linux nginx-light mandoc \
               bash-completion git ;;
    lint) echo clang-format-14 shellcheck python3 ;;
    fuzz) echo clang libclang-rt-14-dev llvm ;;
    bench) echo wrk ;;
    coverage) echo gcovr ;;
    browser) echo chromium-headless-shell ;;
    *) echo "deps: unknown group '$1'; expected build, test, lint, fuzz, bench, coverage or browser" >&2; exit 2 ;;
  esac
}

missing=()
for group in "$@"; do
  for package in $(packages_of "$group"); do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "deps: these Debian packages are missing: ${missing[*]}" >&2
    echo "deps: install them as root: apt-get install ${missing[*]}" >&2
    exit 3
  }
  as_root=(sudo)
fi
echo "deps: installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { # only a failure is worth reading
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 3; }
}
quietly apt-get update -qq
# Another apt (unattended upgrades) may be at work.
quietly apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}"
