#!/bin/sh
# After the removal. Configurations, users and above all keys stay, also on "purge": without
# the keys in /var/lib/bucketseal nothing that was stored can be read again.
set -e

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload >/dev/null 2>&1 || true
fi
case "$1" in
purge)
	echo "bucketseal: kept /etc/bucketseal, /etc/bucketseal-kms, /var/lib/bucketseal and /var/lib/bucketseal-kms, which hold keys; remove them yourself once nothing needs them" >&2
	;;
esac
