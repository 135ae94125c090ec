#!/usr/bin/env bash
# fuzz.sh: run every fuzz function of the module for $FUZZTIME, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}
found=0
while IFS=: read -r file name; do
	found=1
	echo "== $file $name"
	"$go" test -run '^$' -fuzz "^${name}\$" -fuzztime "${FUZZTIME:-20s}" "./$(dirname "$file")"
done < <(find . -name '*_test.go' -not -path './.*/*' -print0 | sort -z |
	xargs -0 grep -Eo '^func Fuzz[A-Za-z0-9_]*' /dev/null | sed -e 's/func //' -e 's#^\./##')
((found)) || { echo "no fuzz functions found" >&2; exit 1; }
