#!/usr/bin/env bash
# run.sh [FLAG...]: start MinIO and bucketseal in front of it, say how to use
# them, and stop both on Ctrl-C. `make run` calls it; FLAGs go to `bucketseal server`.
set -euo pipefail

bin=${BIN:?} data=${DATA:-.data}
proxy=${PROXY_ADDRESS:-127.0.0.1:8080} minio=${MINIO_ADDRESS:-127.0.0.1:9000}
minio_pid='' proxy_pid=''

die() {
	echo "make run: $*" >&2
	exit 1
}

# listening HOST:PORT: does anything accept connections there?
listening() {
	(exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null
}

require_free() { # HOST:PORT VARIABLE
	if listening "$1"; then
		die "something listens on $1 already; choose another place, as in: make run $2=127.0.0.1:$((${1##*:} + 100))"
	fi
}

# wait_ready URL PID NAME LOG: until URL answers 200, for at most 30 seconds.
wait_ready() {
	local i
	for ((i = 0; i < 300; i++)); do
		kill -0 "$2" 2>/dev/null || { tail -n 20 "$4" >&2; die "$3 has ended; its log is $4"; }
		if curl -fsS -o /dev/null --max-time 2 "$1" 2>/dev/null; then return 0; fi
		sleep 0.1
	done
	tail -n 20 "$4" >&2
	die "$3 is not ready after 30 seconds; its log is $4"
}

# The proxy goes first, so that it can end its transfers against a live MinIO.
stop() {
	trap - EXIT
	trap '' INT TERM
	local pid
	for pid in $proxy_pid $minio_pid; do
		kill -TERM "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}

require_free "$minio" MINIO_ADDRESS
require_free "$proxy" PROXY_ADDRESS
command -v curl >/dev/null || die "curl is needed"

umask 077
mkdir -p "$data/minio" "$data/bucketseal" "$data/log"
if [[ ! -s $data/credentials ]]; then
	secret=$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')
	printf 'BUCKETSEAL_ROOT_USER=bucketseal\nBUCKETSEAL_ROOT_PASSWORD=%s\n' "$secret" >"$data/credentials"
fi
# shellcheck disable=SC1091
source "$data/credentials"
user=${BUCKETSEAL_ROOT_USER:?missing in $data/credentials}
secret=${BUCKETSEAL_ROOT_PASSWORD:?missing in $data/credentials}

trap stop EXIT
trap 'exit 0' INT TERM
# With job control each server gets a process group of its own: Ctrl-C reaches
# this script alone, which then stops them in order.
set -m

MINIO_ROOT_USER=$user MINIO_ROOT_PASSWORD=$secret MINIO_BROWSER=off MINIO_UPDATE=off \
	"$bin/minio" server --quiet --address "$minio" "$data/minio" \
	</dev/null >"$data/log/minio.log" 2>&1 &
minio_pid=$!
wait_ready "http://$minio/minio/health/live" "$minio_pid" MinIO "$data/log/minio.log"

BUCKETSEAL_ROOT_USER=$user BUCKETSEAL_ROOT_PASSWORD=$secret \
	"$bin/bucketseal" server --address "$proxy" --upstream "http://$minio" --data-dir "$data/bucketseal" "$@" \
	</dev/null >"$data/log/bucketseal.log" 2>&1 &
proxy_pid=$!
wait_ready "http://$proxy/minio/health/ready" "$proxy_pid" bucketseal "$data/log/bucketseal.log"

# Shorter to read, and to paste in this directory.
bin=${bin#"$PWD"/}
mc=$bin/mc
cat <<TEXT

bucketseal is ready on http://$proxy, in front of MinIO on http://$minio.
Data, keys and logs are in $data/. Paste any of this into another terminal, in this directory:

  # mc: "seal" goes through bucketseal, "raw" straight to MinIO, to look at the ciphertext
  $mc alias set seal http://$proxy $user $secret
  $mc alias set raw http://$minio $user $secret

  $mc mb seal/first
  $mc encrypt set sse-s3 seal/first
  $mc cp README.md seal/first/
  $mc stat seal/first/README.md
  $mc cat seal/first/README.md | head -n 3
  $mc cat raw/first/README.md | head -c 64 | od -c

  # aws-cli and SDKs
  export AWS_ACCESS_KEY_ID=$user AWS_SECRET_ACCESS_KEY=$secret AWS_DEFAULT_REGION=us-east-1
  export AWS_ENDPOINT_URL=http://$proxy
  aws --endpoint-url http://$proxy s3 ls

  # curl
  curl --aws-sigv4 aws:amz:us-east-1:s3 --user $user:$secret http://$proxy/

  # KMS keys, also while the server runs
  $bin/bucketseal key create my-key --data-dir $data/bucketseal
  $mc encrypt set sse-kms my-key seal/first

Ctrl-C stops both.
TEXT

# Whichever ends first by itself takes the other with it.
wait -n "$minio_pid" "$proxy_pid" || true
die "a server has ended by itself; see $data/log/"
