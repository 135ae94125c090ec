#!/usr/bin/env bash
# compose-test.sh: docker-compose.yml on a real engine, with images that are built here
# (scripts/compose-images.sh). `make compose-test` calls it. Without an engine it says so and ends well.
# OLD_BIN: a bucketseal of an earlier version, from which is upgraded. KEEP=1: leave everything running.
# IMAGES: a file with variables of images that are there, in the place of building them. PARTS: what to try.
set -euo pipefail

bin=${BIN:?} port=${PORT:-19000} old=${OLD_BIN:-}
cd "$(dirname "$0")/.."

skip() {
	echo "make compose-test: skipped: $*"
	exit 0
}
docker info >/dev/null 2>&1 || skip "no container engine answers (docker info)"
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
"${compose[@]}" version >/dev/null 2>&1 || skip "neither docker compose nor docker-compose is installed"
for need in curl openssl aws rclone; do type -P "$need" >/dev/null || skip "$need is not installed"; done

parts=${PARTS:-clients console hardened watched restarts cut upgrade aws_profile}
# Other ports where one of the five is taken.
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
taken() { local p; for ((p = port; p < port + 5; p++)); do ! listening "$p" || return 0; done; return 1; }
while taken && ((port < 28000)); do port=$((port + 100)); done
work=$(mktemp -d) faults=0 project=bucketseal-test-$$
seal=http://127.0.0.1:$port front=http://127.0.0.1:$((port + 2))

ok() { echo "ok    $*"; }
fault() {
	echo "FAULT $*" >&2
	faults=$((faults + 1))
}
# check TEXT COMMAND...
check() {
	local text=$1
	shift
	if "$@" >"$work/said" 2>&1; then ok "$text"; else fault "$text: $(tail -n 3 "$work/said")"; fi
}
refused() { ! "$@"; }
# within SECONDS COMMAND...: until it succeeds.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return 1
		sleep 0.5
	done
}
dc() { "${compose[@]}" -f docker-compose.yml -f compose/console.yml --env-file "$work/env" -p "$project" "$@"; }
# Asks the engine itself: compose takes a second for it.
id() { docker ps -aq --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1"; }
inside() { local s=$1; shift; docker exec "$(id "$s")" "$@"; }
state() { docker inspect -f "{{$2}}" "$(id "$1")"; }
is() { [[ $(state "$1" .State.Health.Status) == "$2" ]]; }
healthy() { local s; for s in "$@"; do within 90 is "$s" healthy || { fault "$s is not healthy"; dc logs --tail 20 "$s" >&2; }; done; }
# setting NAME=VALUE
setting() {
	sed -i "/^${1%%=*}=/d" "$work/env"
	echo "$1" >>"$work/env"
}
# s3 METHOD URL [CURL...]: a request of the client, signed by curl.
s3() {
	local method=$1 url=$2
	shift 2
	curl -sS --fail-with-body --max-time 20 -X "$method" --aws-sigv4 aws:amz:us-east-1:s3 --user "client:$password" \
		-H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@" "$url"
}
same() { s3 GET "$1" -o "$work/out" && cmp "$work/out" "$work/in"; }

end() {
	trap - EXIT
	if [[ -n ${KEEP:-} ]]; then
		echo "left running: ${compose[*]} --env-file $work/env -p $project ps"
		return
	fi
	dc down -v --remove-orphans -t 5 >/dev/null 2>&1 || true
	docker images --format '{{.Repository}}:{{.Tag}}' --filter "reference=bucketseal-*:$project*" | xargs -r docker rmi -f >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap end EXIT

make_images() {
	echo "building the images"
	if [[ -n ${IMAGES:-} ]]; then cat "$IMAGES" >>"$work/env"; else BIN=$bin scripts/compose-images.sh "$project" >>"$work/env"; fi
	[[ " $parts " == *" upgrade "* ]] || return 0
	new=$(sed -n 's/^BUCKETSEAL_IMAGE=//p' "$work/env")
	mkdir "$work/old"
	if [[ -n $old ]]; then
		cp "$old" "$work/old/bucketseal"
	else # the same source, other bytes
		CGO_ENABLED=0 ${GO:-go} build -trimpath -ldflags '-s -w' -buildvcs=false -o "$work/old/bucketseal" ./cmd/bucketseal
	fi
	BIN=$work/old scripts/compose-images.sh "$project-old" seal >/dev/null
	setting "BUCKETSEAL_IMAGE=bucketseal-seal:$project-old"
}

clients() {
	export AWS_ACCESS_KEY_ID=client AWS_SECRET_ACCESS_KEY=$password AWS_DEFAULT_REGION=us-east-1
	export MC_CONFIG_DIR=$work/mc MC_HOST_seal=http://client:$password@${front#http://}
	head -c 20000000 /dev/urandom >"$work/in"
	sed -i "1i plaintext-$project" "$work/in"
	check "mc makes a bucket and copies through the balancer" "$bin/mc" --quiet mb seal/first
	check "mc copies" "$bin/mc" --quiet cp "$work/in" seal/first/mc
	check "aws copies" aws --endpoint-url "$front" s3 cp --no-progress "$work/in" s3://first/aws
	unset AWS_CA_BUNDLE # which Go's AWS SDK takes for an error here
	export RCLONE_CONFIG_SEAL_TYPE=s3 RCLONE_CONFIG_SEAL_PROVIDER=Minio RCLONE_CONFIG_SEAL_ENDPOINT=$front RCLONE_CONFIG_SEAL_ENV_AUTH=true
	check "rclone copies" rclone --config /dev/null copyto "$work/in" seal:first/rclone
	for key in mc aws rclone; do check "what $key wrote is read" same "$front/first/$key"; done
	check "no plaintext lies at MinIO" refused inside minio grep -rq "plaintext-$project" /data
	check "something does lie there" inside minio grep -rq first /data/.minio.sys/buckets
}

# A login as a browser makes it, and the page behind it. The password is on no command line.
console() {
	local at=http://127.0.0.1:$((port + 4))
	printf 'data-urlencode = "access_key=client"\ndata-urlencode = "secret_key=%s"\n' "$password" |
		curl -fsS -L --max-time 20 -b "$work/jar" -c "$work/jar" -H "Origin: $at" -K - -o "$work/page" "$at/login"
	check "the console shows the buckets to who has logged in" grep -q '>first<' "$work/page"
	check "it shows nobody else anything" test "$(curl -sS -o "$work/page" -w '%{http_code}' "$at/")" != 200
	check "the balancer does not serve it" refused curl -fsS -o /dev/null "$front/login"
}

hardened() {
	local service pid
	for service in minio bucketseal bucketseal-2 balancer prometheus; do
		pid=$(state "$service" .State.Pid)
		check "$service: no capability" grep -q '^CapEff:\s*0000000000000000$' "/proc/$pid/status"
		check "$service: none to be had" grep -q '^CapBnd:\s*0000000000000000$' "/proc/$pid/status"
		check "$service: no new privileges" grep -q '^NoNewPrivs:\s*1$' "/proc/$pid/status"
		check "$service: not root" refused grep -qE '^Uid:\s+0\s' "/proc/$pid/status"
		check "$service: a root that is read only" test "$(state "$service" .HostConfig.ReadonlyRootfs)" = true
		check "$service: a bound of memory" test "$(state "$service" .HostConfig.Memory)" -gt 0
		case $service in
		bucketseal*) # has no shell
			check "$service: its volume is closed to others" test "$(stat -c %a "/proc/$pid/root/var/lib/bucketseal")" = 700
			check "$service: / cannot be written" refused inside "$service" /bucketseal identity new --key /k --cert /c
			check "$service: its volume can" inside "$service" /bucketseal identity new --force --key /var/lib/bucketseal/k --cert /var/lib/bucketseal/c
			;;
		minio)
			check "minio: its volume is closed to others" test "$(stat -c %a "/proc/$pid/root/data")" = 700
			check "minio: / cannot be written" refused inside minio sh -c 'touch /written || touch /etc/written'
			;;
		*) check "$service: / cannot be written" refused inside "$service" sh -c 'touch /written || touch /etc/written' ;;
		esac
	done
	# shellcheck disable=SC2046
	docker inspect $(dc ps -q) >"$work/inspected"
	for name in minio_root service client; do
		check "$name's password is in no container's description" refused grep -qF "$(cat "$work/secrets/${name}_password")" "$work/inspected"
	done
	dc logs >"$work/logs" 2>&1
	check "nor in a log" refused grep -qF -f <(cat "$work/secrets/"*_password) "$work/logs"
	check "the doctor finds no open file" refused grep -q files.permissions "$work/logs"
}

# crash SERVICE: its process is gone at once; the engine starts it again.
crash() {
	local before
	before=$(state "$1" .State.Pid)
	kill -9 "$before" 2>/dev/null || { docker kill "$(id "$1")" && docker start "$(id "$1")"; } >/dev/null
	within 30 again "$1" "$before" || fault "$1 did not start again"
}
again() { local pid; pid=$(state "$1" .State.Pid) && [[ $pid != 0 && $pid != "$2" ]]; }

restarts() {
	local service
	for service in minio bucketseal bucketseal-2 balancer prometheus; do
		dc restart "$service" >/dev/null 2>&1
		healthy "$service" bucketseal
		check "$service was restarted: read at the proxy" same "$seal/first/mc"
		crash "$service"
		healthy "$service" bucketseal
		check "$service was killed: read at the proxy" same "$seal/first/mc"
		check "$service was killed: read at the balancer" within 20 same "$front/first/aws"
	done
}

cut() {
	docker network disconnect "${project}_storage" "$(id minio)"
	check "the network is cut: unhealthy" within 60 is bucketseal unhealthy
	check "the network is cut: no answer is made up" refused same "$seal/first/mc"
	docker network connect --alias minio "${project}_storage" "$(id minio)"
	check "the network is healed: healthy" within 60 is bucketseal healthy
	check "the network is healed: read" same "$seal/first/mc"
	docker kill -s STOP "$(id minio)" >/dev/null
	check "MinIO hangs: unhealthy" within 90 is minio unhealthy
	docker kill -s CONT "$(id minio)" >/dev/null
	healthy minio bucketseal
	check "MinIO goes on: read" same "$seal/first/mc"
}

load() {
	local n=0
	while [[ ! -e $work/enough ]]; do
		n=$((n + 1))
		s3 PUT "$front/first/load" --data-binary "$n" >>"$work/load" 2>&1 || echo "put $n" >>"$work/failed"
		[[ $(s3 GET "$front/first/load" 2>>"$work/load") == "$n" ]] || echo "get $n" >>"$work/failed"
	done
	echo "$n" >"$work/requests"
}

upgrade() {
	local before service
	before=$(inside bucketseal /bucketseal version --json)
	setting "BUCKETSEAL_IMAGE=$new"
	load &
	for service in bucketseal-2 bucketseal; do
		dc up -d --no-build --no-deps "$service" >/dev/null 2>&1
		healthy "$service"
		sleep 3 # the balancer sees it
	done
	touch "$work/enough"
	wait
	echo "      version before: $before; $(cat "$work/requests") writes and reads meanwhile"
	check "upgraded in place, one after the other, without a failed request" test ! -s "$work/failed"
	check "it is the other image" test "$(state bucketseal .Config.Image)" = "$new"
	check "upgraded: read" same "$seal/first/rclone"
	dc down >/dev/null 2>&1
	dc up -d --no-build "${services[@]}" >/dev/null 2>&1
	healthy "${services[@]}"
	check "down and up: the volumes were kept" same "$seal/first/aws"
}

watched() {
	local at=http://127.0.0.1:$((port + 3))/api/v1
	up() { [[ $(curl -fsS "$at/query?query=sum(up)" | grep -o '"2"') ]]; }
	check "Prometheus sees both proxies" within 60 up
	check "Prometheus has the alerts" test "$(curl -fsS "$at/rules?type=alert" | grep -o '"alerts":' | wc -l)" -ge 10
}

# The keys at moto, by way of the key server. Another installation: other keys, an empty MinIO.
aws_profile() {
	if ! grep -q ^MOTO_IMAGE= "$work/env" && ! docker image inspect motoserver/moto:5.1.1 >/dev/null 2>&1; then
		echo "      the profile aws is skipped: moto is not installed (pip install 'moto[server]')"
		return
	fi
	dc down -v >/dev/null 2>&1
	setting BUCKETSEAL_SETTINGS=bucketseal-kms.yml
	dc up -d --no-build moto kms bucketseal >/dev/null 2>&1
	healthy kms bucketseal
	check "aws: a bucket" s3 PUT "$seal/first"
	check "aws: written" s3 PUT "$seal/first/k" -H 'x-amz-server-side-encryption: aws:kms' -T "$work/in"
	check "aws: read" same "$seal/first/k"
	dc logs moto >"$work/moto" 2>&1
	check "aws: moto was asked" grep -q POST "$work/moto"
	crash kms
	healthy kms bucketseal
	check "aws: read after the key server was killed" same "$seal/first/k"
	dc stop kms >/dev/null 2>&1
	check "aws: unhealthy without the key server" within 60 is bucketseal unhealthy
	dc start kms >/dev/null 2>&1
	healthy kms bucketseal
	check "aws: read when it is back" same "$seal/first/k"
}

compose/new-secrets.sh "$work/secrets" >/dev/null
password=$(cat "$work/secrets/client_password")
cat >"$work/env" <<TEXT
SECRETS=$work/secrets
BUCKETSEAL_PORT=$port
MINIO_PORT=$((port + 1))
BALANCER_PORT=$((port + 2))
PROMETHEUS_PORT=$((port + 3))
CONSOLE_PORT=$((port + 4))
COMPOSE_PROFILES=ha,aws,observability
TEXT
if [[ ! -r $work/secrets/client_password ]]; then skip "this user cannot make the secrets"; fi
grep -hs ^SECRETS_GROUP= "$work/.env" >>"$work/env" || true
make_images
services=(minio bucketseal bucketseal-2 balancer prometheus)
dc up -d --no-build "${services[@]}" >"$work/up" 2>&1 || { cat "$work/up" >&2; exit 1; }
healthy "${services[@]}"
ok "up, and healthy"
for part in $parts; do
	at=$SECONDS
	$part
	echo "      $part: $((SECONDS - at)) s"
done
((faults == 0)) || { echo "make compose-test: $faults faults" >&2; exit 1; }
echo "make compose-test: all is well"
