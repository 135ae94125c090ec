#!/usr/bin/env bash
# fuzz.sh: run every fuzz function of the module for $FUZZTIME, one after the other. One that fails does not keep
# the others from running.
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}
found=0 failed=()
while IFS=: read -r file name; do
	found=1
	echo "== $file $name"
	"$go" test -run '^$' -fuzz "^${name}\$" -fuzztime "${FUZZTIME:-20s}" "./$(dirname "$file")" || failed+=("$name")
done < <(find . -name '*_test.go' -not -path './.*/*' -print0 | sort -z |
	xargs -0 grep -Eo '^func Fuzz[A-Za-z0-9_]*' /dev/null | sed -e 's/func //' -e 's#^\./##')
((found)) || { echo "no fuzz functions found" >&2; exit 1; }
((${#failed[@]} == 0)) || { echo "failed: ${failed[*]}" >&2; exit 1; }
