#!/usr/bin/env bash
# govulncheck.sh: look for known vulnerabilities in what is called. Where the database cannot be
# reached it says so and does not fail: a machine without a network proves nothing either way.
set -uo pipefail

if out=$(timeout 300 "$GOVULNCHECK" ./cmd/bucketseal 2>&1); then
	echo "$out"
	exit 0
fi
if grep -qiE 'no such host|could not resolve|dial tcp|i/o timeout|connection refused|proxyconnect|forbidden' <<<"$out"; then
	echo "govulncheck: skipped, vuln.go.dev cannot be reached from here"
	exit 0
fi
echo "$out"
exit 1
