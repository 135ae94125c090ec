#!/bin/sh
# new-secrets.sh [FOLDER]: make the secrets that docker-compose.yml mounts, each in a file of its own
# in FOLDER (default ./secrets). A file that is there already is left as it is, so that it can be run
# again at any time. Passwords that an .env of an earlier version has are taken over.
set -eu
umask 077

dir=${1:-secrets}
command -v openssl >/dev/null || { echo "new-secrets: openssl is needed" >&2; exit 1; }
mkdir -p "$dir"
chmod 700 "$dir"
cd "$dir"

# Nobody else enters the folder. In the containers the programs are not root: they read the files as
# members of a group, 65532 or, where this user may not give files to that, the user's own.
group=65532
if ! { : >.try && chgrp "$group" .try; } 2>/dev/null; then
	group=$(id -g)
	grep -qs "^SECRETS_GROUP=$group\$" ../.env || echo "SECRETS_GROUP=$group" >>../.env
fi
rm -f .try

# kept FILE...: they are done.
kept() {
	chgrp "$group" "$@"
	chmod 440 "$@"
}

# password FILE [VARIABLE]: of an .env beside the folder, or a new one. It is never on a command line.
password() {
	[ ! -e "$1" ] || return 0
	{
		if [ -n "${2:-}" ] && [ -f ../.env ] && grep -q "^$2=." ../.env; then
			sed -n "s/^$2=//p" ../.env | tail -n 1
		else
			openssl rand -hex 20
		fi
	} >"$1.new"
	kept "$1.new"
	mv "$1.new" "$1"
}
password minio_root_password MINIO_ROOT_PASSWORD
password service_password SERVICE_PASSWORD
password client_password CLIENT_PASSWORD
password grafana_password

# certificate NAME HOSTS USE: NAME.key, and NAME.crt that is its own authority.
certificate() {
	[ ! -e "$1.crt" ] || return 0
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=bucketseal-$1" \
		-addext "subjectAltName=$2" -addext "basicConstraints=critical,CA:FALSE" -addext "extendedKeyUsage=$3" \
		-keyout "$1.key" -out "$1.new" 2>/dev/null
	kept "$1.key" "$1.new"
	mv "$1.new" "$1.crt"
}
certificate kms_server DNS:kms,DNS:localhost,IP:127.0.0.1 serverAuth
certificate kms_client DNS:bucketseal clientAuth
certificate aws DNS:moto,DNS:localhost,IP:127.0.0.1 serverAuth

# Who the proxies are at the key server: the hash of their certificate's public key.
identity() {
	openssl x509 -in "$1" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 | sed 's/.* //'
}
if [ ! -e kms_client_identity ]; then
	identity kms_client.crt >kms_client_identity
	kept kms_client_identity
fi
echo "The secrets are in $PWD. Clients sign as ${CLIENT_USER:-client} with the password in client_password."
