#!/usr/bin/env bash
# stack.sh [try]: the topology of docker-compose.yml with all its profiles, as processes on loopback:
# MinIO, a key server on moto's AWS, two bucketseals, haproxy before them, Prometheus with the alerts.
# `make stack` calls it. It says how to use them, and stops all on Ctrl-C. With "try" it works on them
# with mc, aws and rclone through the balancer, while one proxy is restarted in a loop, and ends.
# haproxy and prometheus are Debian's; moto is pip's. What is missing is said; Prometheus may be.
set -euo pipefail

bin=${BIN:?} data=${DATA:-.data/stack} port=${STACK_PORT:-18080} mode=${1:-} seconds=${STACK_SECONDS:-20}
root=$(cd "$(dirname "$0")/.." && pwd)
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A test takes other ports where one of the nine is taken.
taken() { local p; for ((p = port; p < port + 9; p++)); do ! listening "$p" || return 0; done; return 1; }
while [[ $mode == try ]] && taken && ((port < 28000)); do port=$((port + 100)); done
front=$port one=$((port + 1)) two=$((port + 2)) minio=$((port + 3)) kms=$((port + 4)) moto=$((port + 5)) prometheus=$((port + 6))
metrics_one=$((port + 7)) metrics_two=$((port + 8))
declare -A pids=()

die() {
	echo "make stack: $*" >&2
	exit 1
}

# start NAME COMMAND...: in the background; its log is $data/log/NAME.log.
start() {
	local name=$1
	shift
	"$@" </dev/null >>"$data/log/$name.log" 2>&1 &
	pids[$name]=$!
}

# ready NAME CURL...: until it answers, for at most 60 seconds.
ready() {
	local name=$1 i
	shift
	for ((i = 0; i < 600; i++)); do
		kill -0 "${pids[$name]}" 2>/dev/null || { tail -n 20 "$data/log/$name.log" >&2; die "$name has ended; its log is $data/log/$name.log"; }
		if curl -fsS -o /dev/null --max-time 2 "$@" 2>/dev/null; then return 0; fi
		sleep 0.1
	done
	tail -n 20 "$data/log/$name.log" >&2
	die "$name is not ready after 60 seconds"
}

# Clients' side first, so that transfers end against servers that live.
stop() {
	trap - EXIT
	trap '' INT TERM
	local name pid
	for name in prometheus haproxy one two kms moto minio; do
		# Who took over after SIGUSR2, by the log; no other program that has got its number.
		for pid in $(sed -n 's/.*msg="the new process serves.* pid=\([0-9]*\).*/\1/p' "$data/log/$name.log" 2>/dev/null); do
			if tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$data/bucketseal-kms.yml"; then
				kill -TERM "$pid" 2>/dev/null || true
				tail --pid="$pid" -f /dev/null
			fi
		done
		[[ -n ${pids[$name]:-} ]] || continue
		kill -TERM "${pids[$name]}" 2>/dev/null || true
		wait "${pids[$name]}" 2>/dev/null || true
	done
}

# missing TEXT: there is no stack without it; a test of the stack is left out.
missing() {
	[[ $mode != try ]] || { echo "make stack-test: skipped: $*"; exit 0; }
	die "$*"
}
for need in curl openssl python3 haproxy; do
	PATH=$PATH:/usr/sbin type -P "$need" >/dev/null || missing "$need is needed (apt-get install $need)"
done
python3 -c 'import moto.server' 2>/dev/null || missing "moto is needed (pip install 'moto[server]')"
for p in $front $one $two $minio $kms $moto $prometheus $metrics_one $metrics_two; do
	! listening "$p" || die "something listens on 127.0.0.1:$p already; choose other ports, as in: make stack STACK_PORT=$((port + 1000))"
done

# moto forgets the keys when it ends. What they sealed is of no use then.
umask 077
mkdir -p "$data"
data=$(cd "$data" && pwd)
rm -rf "$data/minio" "$data/one" "$data/two" "$data/prometheus" "$data/log"
mkdir -p "$data"/{minio,one,two,prometheus,log}
"$root/compose/new-secrets.sh" "$data/secrets" >/dev/null
secrets=$data/secrets
read -r root_password <"$secrets/minio_root_password"
read -r password <"$secrets/client_password"

trap stop EXIT
trap 'exit 0' INT TERM
set -m # each a process group of its own: Ctrl-C reaches this script alone

start minio env MINIO_ROOT_USER=minio-root MINIO_ROOT_PASSWORD="$root_password" MINIO_BROWSER=off MINIO_UPDATE=off \
	"$bin/minio" server --quiet --address "127.0.0.1:$minio" "$data/minio"
start moto python3 -m moto.server -H 127.0.0.1 -p "$moto"
ready minio "http://127.0.0.1:$minio/minio/health/live"
ready moto "http://127.0.0.1:$moto/moto-api/data.json"
PATH=$bin:$PATH MC_CONFIG_DIR=$data/mc-setup MINIO_ENDPOINT=http://127.0.0.1:$minio MINIO_ROOT_USER=minio-root \
	SERVICE_USER=bucketseal-service CLIENT_USER=client SECRETS=$secrets sh "$root/compose/setup.sh" >"$data/log/setup.log" 2>&1 ||
	{ cat "$data/log/setup.log" >&2; die "the users at MinIO could not be made"; }

# compose/NAME, with this machine's places in the place of the containers'.
settings() {
	sed -e "s|/run/secrets|$secrets|" -e "s|https://kms:7373|https://127.0.0.1:$kms|" -e "s|0.0.0.0:7373|127.0.0.1:$kms|" \
		-e "s|bind :8080|bind 127.0.0.1:$front|" -e "s|bucketseal:8080|127.0.0.1:$one|" -e "s|bucketseal-2:8080|127.0.0.1:$two|" \
		-e '/^resolvers/,/hold/d' -e 's| resolvers docker init-addr libc,none||' -e '/^frontend health/,$d' \
		-e "s|/etc/observability|$root/deploy/observability|" "$root/compose/$1" >"$data/$1"
}
settings kms.yml
settings bucketseal-kms.yml
settings haproxy.cfg
cat >"$data/prometheus.yml" <<TEXT
global: {scrape_interval: 5s, evaluation_interval: 5s}
rule_files: ["$root/deploy/observability/rules.yml"]
scrape_configs:
  - job_name: bucketseal
    static_configs:
      - targets: ["127.0.0.1:$metrics_one", "127.0.0.1:$metrics_two"]
TEXT

start kms env KMS_CLIENT_IDENTITY="$(cat "$secrets/kms_client_identity")" AWS_ENDPOINT="http://127.0.0.1:$moto" AWS_REGION=us-east-1 \
	AWS_ACCESS_KEY_ID=mock AWS_SECRET_ACCESS_KEY=mock "$bin/bucketseal" kms server --config "$data/kms.yml"
ready kms -k "https://127.0.0.1:$kms/v1/ready"

proxy() { # NAME PORT METRICS
	start "$1" env SERVICE_USER=bucketseal-service CLIENT_USER=client BUCKETSEAL_METRICS_ADDRESS="127.0.0.1:$3" \
		"$bin/bucketseal" server --config "$data/bucketseal-kms.yml" --address "127.0.0.1:$2" --upstream "http://127.0.0.1:$minio"
}
proxy one "$one" "$metrics_one"
ready one "http://127.0.0.1:$one/minio/health/ready"
proxy two "$two" "$metrics_two"
ready two "http://127.0.0.1:$two/minio/health/ready"
start haproxy env PATH="$PATH:/usr/sbin" haproxy -db -f "$data/haproxy.cfg"
ready haproxy "http://127.0.0.1:$front/minio/health/ready"
watched="Prometheus is not installed (apt-get install prometheus); metrics: http://127.0.0.1:$metrics_one/metrics"
if type -P prometheus >/dev/null; then
	start prometheus prometheus --config.file "$data/prometheus.yml" --storage.tsdb.path "$data/prometheus" --web.listen-address "127.0.0.1:$prometheus"
	ready prometheus "http://127.0.0.1:$prometheus/-/ready"
	watched="Prometheus, with the alerts: http://127.0.0.1:$prometheus/alerts"
fi

# try: mc, aws and rclone, which try nothing again, while the second proxy is restarted in a loop.
try() {
	local work=$data/try end=$((SECONDS + seconds)) rounds=0 name faults=0
	export MC_CONFIG_DIR=$data/mc MC_HOST_seal=http://client:$password@127.0.0.1:$front
	export AWS_ACCESS_KEY_ID=client AWS_SECRET_ACCESS_KEY=$password AWS_DEFAULT_REGION=us-east-1 AWS_MAX_ATTEMPTS=1
	unset AWS_CA_BUNDLE
	rm -rf "$work"
	mkdir -p "$work"
	head -c 9000000 /dev/urandom >"$work/in"
	"$bin/mc" --quiet mb seal/first >/dev/null
	export RCLONE_CONFIG_SEAL_TYPE=s3 RCLONE_CONFIG_SEAL_PROVIDER=Minio RCLONE_CONFIG_SEAL_ENDPOINT=http://127.0.0.1:$front RCLONE_CONFIG_SEAL_ENV_AUTH=true
	put_mc() { "$bin/mc" --quiet cp "$work/in" seal/first/mc && "$bin/mc" --quiet cat seal/first/mc >"$work/out-mc"; }
	put_aws() {
		aws --endpoint-url "http://127.0.0.1:$front" s3 cp --no-progress "$work/in" s3://first/aws &&
			aws --endpoint-url "http://127.0.0.1:$front" s3 cp --no-progress s3://first/aws "$work/out-aws"
	}
	put_rclone() {
		rclone --config /dev/null --retries 1 --low-level-retries 1 --ignore-times copyto "$work/in" seal:first/rclone &&
			rclone --config /dev/null --retries 1 --low-level-retries 1 --ignore-times copyto seal:first/rclone "$work/out-rclone"
	}
	for name in mc aws rclone; do
		[[ $name == mc ]] || type -P "$name" >/dev/null || { echo "$name is not installed"; continue; }
		(
			n=0
			while ((SECONDS < end)); do
				n=$((n + 1))
				if ! "put_$name" >"$work/said-$name" 2>&1 || ! cmp "$work/in" "$work/out-$name"; then
					echo "$name: round $n: $(tail -n 2 "$work/said-$name")" | tee -a "$work/failed"
				fi
			done
			echo "$name: wrote and read $n times"
		) &
		pids[try-$name]=$!
	done
	while ((SECONDS < end)); do
		kill -TERM "${pids[two]}"
		wait "${pids[two]}" || true
		proxy two "$two" "$metrics_two"
		ready two "http://127.0.0.1:$two/minio/health/ready"
		sleep 2 # the balancer sees it
		rounds=$((rounds + 1))
	done
	for name in mc aws rclone; do
		[[ -z ${pids[try-$name]:-} ]] || wait "${pids[try-$name]}"
	done
	echo "the second proxy was restarted $rounds times"
	if [[ -n ${pids[prometheus]:-} ]]; then
		curl -fsS "http://127.0.0.1:$prometheus/api/v1/rules?type=alert" | grep -q '"health":"ok"' || die "Prometheus has no working alerts"
		[[ $(curl -fsS "http://127.0.0.1:$prometheus/api/v1/targets" | grep -o '"health":"up"' | wc -l) -ge 1 ]] || die "Prometheus sees no proxy"
	fi
	faults=$(wc -l 2>/dev/null <"$work/failed" || true)
	[[ ${faults:-0} == 0 ]] || die "$faults rounds failed"
	echo "make stack-test: no request failed"
}
if [[ $mode == try ]]; then
	try
	exit
fi

cat <<TEXT

Two bucketseals are ready behind haproxy on http://127.0.0.1:$front, in front of MinIO on http://127.0.0.1:$minio.
Their keys lie in moto's AWS Secrets Manager, behind a key server on https://127.0.0.1:$kms; moto forgets them at the end.
Logs and settings are in $data/. $watched
Paste any of this into another terminal:

  # mc: "seal" goes through the balancer, "raw" straight to MinIO, to look at the ciphertext
  export MC_HOST_seal=http://client:\$(cat $secrets/client_password)@127.0.0.1:$front
  export MC_HOST_raw=http://minio-root:\$(cat $secrets/minio_root_password)@127.0.0.1:$minio
  $bin/mc mb seal/first
  $bin/mc cp README.md seal/first/
  $bin/mc cat raw/first/README.md | head -c 64 | od -c

  # aws-cli and SDKs
  export AWS_ACCESS_KEY_ID=client AWS_SECRET_ACCESS_KEY=\$(cat $secrets/client_password) AWS_DEFAULT_REGION=us-east-1
  aws --endpoint-url http://127.0.0.1:$front s3 ls s3://first/

  # restart one proxy without a lost request: SIGUSR2 hands its sockets to a new process
  kill -USR2 ${pids[one]}

Ctrl-C stops all.
TEXT
# The first proxy's number changes with SIGUSR2; that it is gone says nothing.
unset 'pids[one]'
wait -n "${pids[minio]}" "${pids[kms]}" "${pids[haproxy]}" || true
die "a server has ended by itself; see $data/log/"
