#!/bin/sh
# After the installation or an upgrade. dpkg calls it with "configure [OLD VERSION]", rpm
# with 1 (installed) or 2 (upgraded). It may run any number of times, and changes no
# folder that is there.
set -e

folder() { # PATH MODE OWNER GROUP
	if [ ! -d "$1" ]; then
		mkdir -p "$1"
		chmod "$2" "$1"
		chown "$3:$4" "$1"
	fi
}

case "$1" in
configure)
	if [ -z "$2" ]; then fresh=yes; else fresh=no; fi
	;;
1) fresh=yes ;;
2) fresh=no ;;
*) exit 0 ;;
esac

for user in bucketseal bucketseal-kms; do
	getent group "$user" >/dev/null || groupadd --system "$user"
	getent passwd "$user" >/dev/null ||
		useradd --system --gid "$user" --home-dir "/var/lib/$user" --no-create-home --shell /usr/sbin/nologin "$user"
	# Root writes the configuration, the server reads it. Credentials are root's alone:
	# systemd passes them on. Keys are the server's alone.
	folder "/etc/$user" 0750 root "$user"
	folder "/etc/$user/credentials" 0700 root root
	folder "/var/lib/$user" 0700 "$user" "$user"
done

# Enabled and not started: without a configuration the units are skipped at each boot.
# systemctl enable needs no running systemd.
if [ "$fresh" = yes ] && command -v systemctl >/dev/null; then
	systemctl --no-reload enable bucketseal.service bucketseal-kms.service >/dev/null 2>&1 || true
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	if [ "$fresh" = no ]; then
		systemctl try-restart bucketseal.service bucketseal-kms.service || true
	fi
fi
