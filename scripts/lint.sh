#!/usr/bin/env bash
# Formatting of C, errors in shell scripts, and the direction in which folders may include each other.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files '*.c' '*.h' | xargs clang-format-14 --dry-run -Werror
git ls-files '*.sh' .ci/run | xargs shellcheck --severity=warning
scripts/check_includes.py
echo "lint: clean"
