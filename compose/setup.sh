#!/bin/sh
# setup.sh: make at MinIO, as its root, the users that docker-compose.yml needs: one
# for bucketseal itself and one for its clients, each with a policy of its own from
# this folder. It can be run again at any time; passwords and policies are then those
# of the folder SECRETS and of this folder. Secrets go through pipes, never into command lines.
set -eu

here=$(dirname "$0")
: "${MINIO_ENDPOINT:?}" "${MINIO_ROOT_USER:?}" "${SERVICE_USER:?}" "${CLIENT_USER:?}" "${SECRETS:?}"

die() {
	echo "setup: $*" >&2
	exit 1
}

# secret NAME: what the file says, for it is made by compose/new-secrets.sh.
secret() {
	[ -s "$SECRETS/$1" ] || die "no secret $1: run compose/new-secrets.sh"
	cat "$SECRETS/$1"
}
MINIO_ROOT_PASSWORD=$(secret minio_root_password)
SERVICE_PASSWORD=$(secret service_password)
CLIENT_PASSWORD=$(secret client_password)

# different WHAT WHERE A B C: no two of them are equal.
different() {
	if [ "$3" = "$4" ] || [ "$3" = "$5" ] || [ "$4" = "$5" ]; then
		die "MinIO's root, bucketseal and its clients need a $1 of their own each: change $2"
	fi
}
different "user name" .env "$MINIO_ROOT_USER" "$SERVICE_USER" "$CLIENT_USER"
different password "the files in secrets/" "$MINIO_ROOT_PASSWORD" "$SERVICE_PASSWORD" "$CLIENT_PASSWORD"

# MinIO is alive some time before it knows its users.
tries=0
until said=$(printf '%s\n%s\n' "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" | mc --quiet alias set minio "$MINIO_ENDPOINT" 2>&1); do
	tries=$((tries + 1))
	[ "$tries" -lt 30 ] || die "MinIO does not accept its root: $said"
	sleep 1
done

# attached USER POLICY: does the user have the policy?
attached() {
	mc --quiet --json admin user info minio "$1" | tr ' ' '\n' | grep -q "\"policyName\":\"\([^\"]*,\)\{0,1\}$2[,\"]"
}

# account USER PASSWORD POLICY
account() {
	mc --quiet admin policy create minio "$3" "$here/$3.json" >/dev/null
	printf '%s\n%s\n' "$1" "$2" | mc --quiet admin user add minio >/dev/null
	attached "$1" "$3" || mc --quiet admin policy attach minio "$3" --user "$1" >/dev/null
	echo "setup: user $1 has the policy $3"
}
account "$SERVICE_USER" "$SERVICE_PASSWORD" bucketseal-service
account "$CLIENT_USER" "$CLIENT_PASSWORD" bucketseal-clients
