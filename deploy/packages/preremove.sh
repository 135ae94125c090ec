#!/bin/sh
# Before the removal. dpkg calls it with "remove" or "upgrade", rpm with 0 (removed) or 1
# (upgraded). An upgrade stops nothing: the new package restarts what runs.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
	systemctl --no-reload disable --now bucketseal.socket bucketseal-console.socket bucketseal.service bucketseal-kms.socket bucketseal-kms.service >/dev/null 2>&1 || true
fi
