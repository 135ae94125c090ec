#!/usr/bin/env bash
# fuzz.sh: run the fuzz functions of the module. With $FUZZTIME each runs once for that long; with $HOURS all of them
# share so many hours, in rounds, so that a run which is ended early has tried each. $JOBS of them run at a time, on
# one core each. $FUZZ chooses, as in FUZZ='sse|FuzzPath'. One that fails does not keep the others from running; what
# made it fail stays below testdata/fuzz of its package, where `go test` runs it from then on, and is named in the end.
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go} jobs=${JOBS:-1} chosen=${FUZZ:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cache=${FUZZ_CACHE:-$("$go" env GOCACHE)/fuzz}
mkdir -p "$cache"

# What there is: "folder name" for each function.
find . -name '*_test.go' -not -path './.*/*' -print0 | sort -z | xargs -0 grep -Eo '^func Fuzz[A-Za-z0-9_]*' /dev/null |
	sed -E -e 's#^\./##' -e 's#/[^/]*:func # #' | grep -E "$chosen" > "$work/targets" || true
[[ -s $work/targets ]] || { echo "no fuzz functions found" >&2; exit 1; }
targets=$(wc -l < "$work/targets")

rounds=1 slice=${FUZZTIME:-20s}
if [[ -n ${HOURS:-} ]]; then
	read -r rounds slice < <(awk -v h="$HOURS" -v n="$targets" -v j="$jobs" 'BEGIN {
		share = h * 3600 * j / n; if (share < 1) share = 1
		rounds = int((share + 299) / 300); printf "%d %ds\n", rounds, share / rounds
	}')
	echo "$targets functions, $rounds rounds of $slice each, $jobs at a time"
fi

# Programs are built once, with the instrumentation that leads the search.
cut -d' ' -f1 "$work/targets" | sort -u | while read -r folder; do
	"$go" test -c -fuzz=. -o "$work/bin/${folder//\//_}" "./$folder"
done

# fuzz FOLDER NAME: one function for one slice. The log of one that failed is kept in $work/failed.
fuzz() {
	local status=0 input folder=$1 name=$2 log="$work/log-${1//\//_}-$2" limit=$((${slice_seconds%.*} + 180))
	[[ -e $work/failed/${folder//\//_}-$name ]] && return
	(cd "$folder" && timeout -k 10 "$limit" nice -n "${NICE:-0}" "$work/bin/${folder//\//_}" -test.run '^$' -test.fuzz "^$name\$" \
		-test.fuzztime "$slice" -test.parallel 1 -test.fuzzcachedir "$cache/$folder") > "$log" 2>&1 || status=$?
	((status == 0)) && {
		echo "ok   $folder $name $(grep -E 'execs:' "$log" | tail -n 1 | sed -E 's/.*(execs: [0-9]+).*(new interesting: .*)/\1, \2/')"
		return
	}
	# The end of the time can be taken for a failure of what ran just then.
	if grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; then
		echo "ok   $folder $name (ended in the middle of an input)"
		return
	fi
	((status == 124 || status == 137)) && echo "it did not end within $limit s, and was killed (status $status)" >> "$log"
	echo "FAIL $folder $name"
	sed 's/^/     /' "$log" | tail -n 40
	mkdir -p "$work/failed" && cp "$log" "$work/failed/${folder//\//_}-$name"
	# A new input is named by its file, one that was there, or a seed in the source, by go's name.
	input=$(grep -Eo 'testdata/fuzz/[^ ]+|Fuzz[A-Za-z0-9_]*/[A-Za-z0-9#-]+' "$log" | head -n 1)
	echo "$folder: ${input:-$name, which no input did}" >> "$work/summary"
}
slice_seconds=$(awk -v t="$slice" 'BEGIN { n = t + 0; if (t ~ /m$/) n *= 60; if (t ~ /h$/) n *= 3600; print int(n) }')
export work cache slice slice_seconds
export -f fuzz
for ((round = 1; round <= rounds; round++)); do
	((rounds == 1)) || echo "== round $round of $rounds"
	# shellcheck disable=SC2016
	xargs -P "$jobs" -L 1 bash -c 'fuzz "$0" "$1"' < "$work/targets"
done
[[ ! -s $work/summary ]] || { echo "failed, with the input that did it:"; cat "$work/summary"; exit 1; } >&2
echo "all $targets functions held"
