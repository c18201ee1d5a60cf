#!/usr/bin/env bash
# Formatting of C, errors in shell scripts, and names that must not appear in the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files '*.c' '*.h' | xargs clang-format-14 --dry-run -Werror
git ls-files '*.sh' .ci/run | xargs shellcheck --severity=warning
echo "lint: clean"
