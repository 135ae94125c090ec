#!/usr/bin/env bash
# drill.sh: make objects, copy the raw buckets in every way that people make backups,
# restore each copy into an empty MinIO, and read every byte back through a proxy that
# has the same keys. `make drill` calls it. It prints a table and fails if a way that
# docs/backup.md promises loses anything. Two more ways need neither MinIO nor a proxy:
# `object decrypt` reads copies with a key backup. BIN holds minio, mc and bucketseal; ways
# whose tools are missing are left out with a sentence.
set -euo pipefail

bin=${BIN:?}
work=$(mktemp -d "${TMPDIR:-/tmp}/drill.XXXXXX")
user=drill secret=drill-secret-0123456789
system=bucketseal-system
old_minio='' old_seal='' new_minio='' new_seal=''
port=$((20000 + RANDOM % 20000))
failures=0
export MC_CONFIG_DIR=$work/mc HOME=$work
unset AWS_CA_BUNDLE
umask 077

say() { echo "drill: $*" >&2; }

end() { # PID...
	local pid
	for pid in "$@"; do
		kill -TERM "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}

finish() {
	local pids=()
	local pid
	for pid in "$new_seal" "$new_minio" "$old_seal" "$old_minio"; do
		if [[ -n $pid ]]; then pids+=("$pid"); fi
	done
	end "${pids[@]}"
	rm -rf "$work"
}
trap finish EXIT

mc() { "$bin/mc" --quiet --no-color "$@"; }

free_port() {
	while port=$((port + 1)) && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
}

# wait_ready URL LOG: until URL answers 200, for at most 30 seconds.
wait_ready() {
	local i
	for ((i = 0; i < 300; i++)); do
		if curl -fsS -o /dev/null --max-time 2 "$1" 2>/dev/null; then return 0; fi
		sleep 0.1
	done
	tail -n 20 "$2" >&2
	say "$1 does not answer; what it needs: see above"
	exit 1
}

# start NAME: a MinIO with $work/NAME/data and a proxy with $work/NAME/seal, as mc's
# aliases NAME-raw and NAME. Their process ids are in minio_pid and seal_pid.
minio_pid='' seal_pid='' raw_at=''
start_minio() {
	mkdir -p "$work/$1/data"
	free_port
	raw_at=http://127.0.0.1:$port
	MINIO_ROOT_USER=$user MINIO_ROOT_PASSWORD=$secret MINIO_BROWSER=off MINIO_UPDATE=off MINIO_CI_CD=on \
		"$bin/minio" server --quiet --address "127.0.0.1:$port" "$work/$1/data" >"$work/$1/minio.log" 2>&1 &
	minio_pid=$!
	wait_ready "$raw_at/minio/health/ready" "$work/$1/minio.log"
	mc alias set "$1-raw" "$raw_at" "$user" "$secret" >/dev/null
}
start_seal() { # NAME [HEALTH]: until it is ready, or what else HEALTH names
	free_port
	local at=127.0.0.1:$port
	BUCKETSEAL_ROOT_USER=$user BUCKETSEAL_ROOT_PASSWORD=$secret \
		"$bin/bucketseal" server --address "$at" --upstream "$raw_at" --data-dir "$work/$1/seal" >"$work/$1/seal.log" 2>&1 &
	seal_pid=$!
	wait_ready "http://$at/minio/health/${2:-ready}" "$work/$1/seal.log"
	mc alias set "$1" "http://$at" "$user" "$secret" >/dev/null
}

# The objects: one line each of what it is, its path, a version id or -, SHA-256, size
# and ETag.
manifest=$work/objects
note() { # KIND PATH VERSION FILE
	local stat
	stat=$(mc stat --json ${3:+--version-id "$3"} "old/$2")
	echo "$1 $2 ${3:--} $(sha256sum <"$4" | cut -d' ' -f1) $(wc -c <"$4") $(etag <<<"$stat")" >>"$manifest"
}
etag() { sed -n 's/.*"etag":"\([^"]*\)".*/\1/p'; }
version() { sed -n 's/.*"versionID":"\([^"]*\)".*/\1/p'; }

make_objects() {
	head -c 100000 /dev/urandom >"$work/small"
	head -c 21000001 /dev/urandom >"$work/large"
	head -c 17000003 /dev/urandom >"$work/other"
	: >"$work/empty"
	mc mb old/plainly old/versions old/ruled >/dev/null
	mc version enable old/versions >/dev/null
	mc encrypt set sse-kms bucketseal-default old/ruled >/dev/null
	local bucket
	for bucket in plainly versions ruled; do
		mc cp "$work/empty" "old/$bucket/dir/empty" >/dev/null
		mc cp "$work/small" "old/$bucket/dir/small" >/dev/null
		mc cp --disable-multipart "$work/large" "old/$bucket/streamed" >/dev/null
		mc put --part-size 5MiB "$work/large" "old/$bucket/dir/parts" >/dev/null
		mc cp "old/$bucket/dir/parts" "old/$bucket/copied" >/dev/null
	done
	mc put --part-size 6MiB "$work/other" old/versions/twice >/dev/null
	local first
	first=$(mc stat --json old/versions/twice | version)
	mc put --part-size 5MiB "$work/large" old/versions/twice >/dev/null
	for bucket in plainly versions ruled; do
		note single "$bucket/dir/empty" '' "$work/empty"
		note single "$bucket/dir/small" '' "$work/small"
		note streamed "$bucket/streamed" '' "$work/large"
		note parts "$bucket/dir/parts" '' "$work/large"
		note copy "$bucket/copied" '' "$work/large"
	done
	note parts versions/twice '' "$work/large"
	note older versions/twice "$first" "$work/other"
}

make_buckets() { # at the new MinIO, as the tools do not
	mc mb new-raw/plainly new-raw/versions new-raw/ruled "new-raw/$system" >/dev/null
	mc version enable new-raw/versions >/dev/null
	mc version enable "new-raw/$system" >/dev/null
}

buckets=(plainly versions ruled "$system")

# The ways. Each copies what is at old-raw ($old_at) to new-raw ($raw_at).
way_mc() { make_buckets && for b in "${buckets[@]}"; do mc mirror "$@" "old-raw/$b" "new-raw/$b"; done; }
way_rclone() {
	make_buckets
	local side at
	for side in OLD NEW; do
		at=$raw_at
		if [[ $side == OLD ]]; then at=$old_at; fi
		export "RCLONE_CONFIG_${side}_TYPE=s3" "RCLONE_CONFIG_${side}_PROVIDER=Minio" "RCLONE_CONFIG_${side}_ENDPOINT=$at" \
			"RCLONE_CONFIG_${side}_ACCESS_KEY_ID=$user" "RCLONE_CONFIG_${side}_SECRET_ACCESS_KEY=$secret"
	done
	for b in "${buckets[@]}"; do rclone sync --config "$work/none" --s3-upload-cutoff 8Mi --s3-chunk-size 8Mi "$@" "old:$b" "new:$b"; done
}
way_aws() {
	make_buckets
	export AWS_ACCESS_KEY_ID=$user AWS_SECRET_ACCESS_KEY=$secret AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
	for b in "${buckets[@]}"; do
		aws --endpoint-url "$old_at" s3 sync --only-show-errors "s3://$b" "$work/aws/$b"
		aws --endpoint-url "$raw_at" s3 sync --only-show-errors "$work/aws/$b" "s3://$b"
	done
	rm -rf "$work/aws"
}
way_replication() {
	make_buckets
	for b in "${buckets[@]}"; do
		mc version enable "old-raw/$b" && mc version enable "new-raw/$b"
		mc replicate add "old-raw/$b" --remote-bucket "http://$user:$secret@${raw_at#http://}/$b" --replicate "delete,delete-marker,existing-objects"
		mc replicate resync start "old-raw/$b" --remote-bucket "$(mc replicate ls --json "old-raw/$b" | sed -n 's/.*"Bucket":"\([^"]*\)".*/\1/p' | head -1)"
	done
	local i want have
	want=$(mc ls --recursive --versions old-raw | wc -l)
	for ((i = 0; i < 120; i++)); do
		have=$(mc ls --recursive --versions new-raw | wc -l)
		if [[ $have -ge $want ]]; then return 0; fi
		sleep 0.5
	done
	say "replication copied $have of $want versions in a minute"
}

# count KIND...: how many of the objects of these kinds come back, byte by byte, with
# size and ETag, as OK/ALL. What does not is said on stderr.
count() {
	local kind path version sha size tag all=0 ok=0 stat
	while read -r kind path version sha size tag; do
		if [[ " $* " != *" $kind "* ]]; then continue; fi
		all=$((all + 1))
		if [[ $version == - ]]; then version=''; fi
		if ! [[ $(mc cat ${version:+--version-id "$version"} "new/$path" 2>/dev/null | sha256sum) == "$sha "* ]]; then
			say "$way: $path ${version} is not what it was"
			continue
		fi
		stat=$(mc stat --json ${version:+--version-id "$version"} "new/$path")
		if [[ $stat != *"\"size\":$size,"* ]]; then
			say "$way: $path has another size: $stat"
			continue
		fi
		if [[ $(etag <<<"$stat") != "$tag" && $path != ruled/* ]]; then # of SSE-KMS it is MinIO's own
			say "$way: $path has another ETag: $stat"
			continue
		fi
		ok=$((ok + 1))
	done <"$manifest"
	echo "$ok/$all"
}

# drill WAY WANT COMMAND...: WANT says what docs/backup.md promises: all, current
# (current versions) or nothing.
row='%-24s %-9s %-9s %-9s %-9s %-9s %-8s %s\n'
drill() {
	way=$1
	local want=$2 rule=lost single streamed parts copy older promised=yes
	shift 2
	mkdir -p "$work/new"
	start_minio new && new_minio=$minio_pid
	if ! "$@" >"$work/new/way.log" 2>&1; then
		say "$way: the tool says: $(tail -n 3 "$work/new/way.log")"
	fi
	cp -r "$work/old/seal" "$work/new/seal"
	if [[ $want == nothing ]]; then
		start_seal new live # whose system bucket is useless
	else
		start_seal new
	fi
	new_seal=$seal_pid
	single=$(count single) streamed=$(count streamed) parts=$(count parts) copy=$(count copy) older=$(count older)
	if mc encrypt info new/ruled 2>/dev/null | grep -q kms; then rule=kept; fi
	local r all=("$single" "$streamed" "$parts" "$copy")
	if [[ $want == all ]]; then all+=("$older"); fi
	for r in "${all[@]}"; do
		if [[ $want != nothing && ${r%/*} != "${r#*/}" ]]; then promised=NO; fi
	done
	if [[ $want == nothing ]]; then promised=-; fi
	if [[ $promised == NO ]]; then failures=$((failures + 1)); fi
	# shellcheck disable=SC2059
	printf "$row" "$way" "$single" "$streamed" "$parts" "$copy" "$older" "$rule" "$promised"
	end "$new_seal" "$new_minio"
	new_seal='' new_minio=''
	rm -rf "$work/new"
}

# offline WAY WANT ARGUMENT...: the same by `object decrypt`, with the key backup alone.
offline() {
	way=$1
	local want=$2 kind path version sha file promised=yes
	shift 2
	local -A all=() ok=()
	if ! "$bin/bucketseal" object decrypt --backup "$work/keys.age" --passphrase --output "$work/plain" "$@" <"$work/passphrase" >"$work/offline.log" 2>&1; then
		say "$way: $(tail -n 3 "$work/offline.log")"
		promised=NO
	fi
	while read -r kind path version sha _; do
		file=$work/plain/$path
		if [[ $version != - ]]; then file=$work/plain/${path/\//@versions/}/$version; fi
		all[$kind]=$((${all[$kind]:-0} + 1))
		if [[ -f $file && $(sha256sum <"$file") == "$sha "* ]]; then
			ok[$kind]=$((${ok[$kind]:-0} + 1))
		elif [[ $kind != older || $want == all ]]; then
			say "$way: $path ${version} is not what it was"
			promised=NO
		fi
	done <"$manifest"
	if [[ $promised == NO ]]; then failures=$((failures + 1)); fi
	local columns=()
	for kind in single streamed parts copy older; do columns+=("${ok[$kind]:-0}/${all[$kind]}"); done
	# shellcheck disable=SC2059
	printf "$row" "$way" "${columns[@]}" - "$promised"
	rm -rf "$work/plain"
}

need() { # TOOL WAY
	command -v "$1" >/dev/null || { say "$2 is left out: $1 is not installed"; return 1; }
}

mkdir -p "$work/old"
start_minio old && old_minio=$minio_pid old_at=$raw_at
start_seal old && old_seal=$seal_pid
make_objects
end "$old_seal"
old_seal=''
head -c 24 /dev/urandom | base64 >"$work/passphrase"
"$bin/bucketseal" key backup --passphrase --output "$work/keys.age" --data-dir "$work/old/seal" <"$work/passphrase" >/dev/null

# shellcheck disable=SC2059
printf "$row" WAY SINGLE STREAMED PARTS COPIED 'OLD VER.' RULE 'AS PROMISED'
drill 'mc mirror' current way_mc
drill 'mc mirror --preserve' current way_mc --preserve
if need rclone rclone; then
	drill 'rclone sync' nothing way_rclone
	drill 'rclone sync --metadata' current way_rclone --metadata
fi
if need aws 'aws s3 sync'; then drill 'aws s3 sync, by disk' nothing way_aws; fi
drill 'replication' all way_replication
for b in "${buckets[@]}"; do mc mirror "old-raw/$b" "$work/mirror/$b" >/dev/null; done
mc stat --recursive --json old-raw >"$work/heads"
end "$old_minio"
old_minio=''
offline 'decrypt: mc mirror' current --from "$work/mirror" --heads "$work/heads"
offline 'decrypt: data folder' all --from "$work/old/data" --all-versions
drill_disk() { :; }
mkdir -p "$work/new" && cp -a "$work/old/data" "$work/new/data"
drill 'copy of the disks' all drill_disk
exit $((failures > 0))
