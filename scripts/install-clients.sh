#!/usr/bin/env bash
# install-clients.sh: install the real clients and servers that tests drive and skip where they are
# missing, on Debian as root. It never fails: a test whose client is missing says so.
set -uo pipefail

# program=package
clients=(curl=curl rclone=rclone restic=restic s3cmd=s3cmd s3fs=s3fs chromium=chromium
	haproxy=haproxy promtool=prometheus systemd-analyze=systemd rpm=rpm)
missing=()
for one in "${clients[@]}"; do
	PATH=$PATH:/usr/sbin command -v "${one%%=*}" >/dev/null || missing+=("${one#*=}")
done
if [[ ${#missing[@]} -eq 0 ]]; then exit 0; fi
if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
	echo "not installed, tests that need them are skipped: ${missing[*]}"
	exit 0
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
if ! { timeout 120 apt-get update -qq && timeout 600 apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1; then
	echo "cannot install all of them; tests that need them are skipped"
fi
