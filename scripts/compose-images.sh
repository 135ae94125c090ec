#!/usr/bin/env bash
# compose-images.sh TAG [seal]: build the images of docker-compose.yml as bucketseal-*:TAG
# without a registry. bucketseal, minio and mc are those of .bin, FROM scratch; a shell and wget come
# from Debian's busybox, haproxy and Prometheus from Debian's packages, moto from this machine's Python.
# With "seal", only bucketseal. It prints the variables for .env. What is missing is said, and its variable is not printed.
set -euo pipefail

tag=${1:?a tag} bin=${BIN:?} root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# debian PACKAGE: unpack it, without installing it; prints the folder.
debian() {
	local cache=$work/debian/$1
	mkdir -p "$cache"
	(cd "$cache" && apt-get download -qq "$1" >/dev/null 2>&1 && dpkg-deb -x ./*.deb . && rm -f ./*.deb) || return 1
	echo "$cache"
}

# program NAME PACKAGE: where the program is: here, or in Debian's package.
program() {
	type -P "$1" && return
	local dir
	dir=$(debian "$2") || return 1
	find "$dir" -type f -name "$1" -perm -u+x -path '*bin/*' | head -n 1 | grep .
}

# shell FOLDER: /bin/sh, wget and a few more, and the user.
shell() {
	local name
	mkdir -p "$1"/{bin,tmp,etc}
	chmod 1777 "$1/tmp"
	cp "$busybox" "$1/bin/busybox"
	for name in sh wget cat dirname grep ls mkdir sed sleep tail tr touch; do ln -sf busybox "$1/bin/$name"; done
	echo 'nobody:x:65532:65532::/tmp:/bin/sh' >"$1/etc/passwd"
}

# libraries FOLDER FILE...: copy the shared libraries that the files are linked with.
libraries() {
	local into=$1 lib
	shift
	{ ldd "$@" 2>/dev/null || true; } | grep -oE '/[^ ]+\.so[^ ]*' | grep -v ':$' | sort -u | while read -r lib; do
		mkdir -p "$into$(dirname "$lib")"
		cp -L "$lib" "$into$lib"
	done
}

# image NAME FOLDER: build it of FOLDER/Dockerfile, where / is FOLDER/root.
image() {
	docker build --quiet --tag "bucketseal-$1:$tag" "$2" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
	echo "$3=bucketseal-$1:$tag"
}

busybox=$(debian busybox-static)/bin/busybox || { echo "compose-images: no busybox-static from Debian" >&2; exit 1; }

seal() {
	local at=$work/seal
	mkdir -p "$at/root/etc/ssl/certs" "$at/lib/bucketseal"
	cp "$bin/bucketseal" "$at/root/"
	cp /etc/ssl/certs/ca-certificates.crt "$at/root/etc/ssl/certs/" 2>/dev/null || true
	chmod 0700 "$at/lib/bucketseal"
	# The last stage of the Dockerfile, with the files of this machine.
	sed -n '/^FROM scratch AS bucketseal/,$p' "$root/Dockerfile" | sed -e '/^COPY --from=build \//d' \
		-e 's|^COPY --from=build --chown=65532:65532 /out/lib|COPY root /\nCOPY --chown=65532:65532 lib|' >"$at/Dockerfile"
	image seal "$at" BUCKETSEAL_IMAGE
}

storage() {
	local at=$work/minio
	shell "$at/root"
	mkdir -p "$at/root/usr/local/bin" "$at/volumes/data"
	cp "$bin/minio" "$at/root/usr/local/bin/"
	chmod 0700 "$at/volumes/data"
	cat >"$at/Dockerfile" <<-'TEXT'
		FROM scratch
		COPY root /
		COPY --chown=65532:65532 volumes /
		USER 65532:65532
		ENTRYPOINT ["/usr/local/bin/minio"]
	TEXT
	image minio "$at" MINIO_IMAGE

	at=$work/setup
	shell "$at/root"
	cp "$bin/mc" "$at/root/bin/mc"
	cat >"$at/Dockerfile" <<-'TEXT'
		FROM scratch
		COPY root /
		ENV MC_CONFIG_DIR=/tmp/mc PATH=/bin
		USER 65532:65532
		ENTRYPOINT ["/bin/sh"]
	TEXT
	image setup "$at" SETUP_IMAGE
}

balancer() {
	local at=$work/haproxy haproxy
	haproxy=$(program haproxy haproxy) || { echo "compose-images: no haproxy" >&2; return; }
	shell "$at/root"
	mkdir -p "$at/root/usr/sbin"
	cp "$haproxy" "$at/root/usr/sbin/haproxy"
	libraries "$at/root" "$haproxy"
	cat >"$at/Dockerfile" <<-'TEXT'
		FROM scratch
		COPY root /
		USER 65532:65532
		ENTRYPOINT ["/usr/sbin/haproxy", "-W", "-db"]
	TEXT
	image haproxy "$at" HAPROXY_IMAGE
}

prometheus() {
	local at=$work/prometheus found
	found=$(program prometheus prometheus) || { echo "compose-images: no prometheus" >&2; return; }
	shell "$at/root"
	cp "$found" "$at/root/bin/prometheus"
	libraries "$at/root" "$found"
	mkdir -p "$at/data"
	cat >"$at/Dockerfile" <<-'TEXT'
		FROM scratch
		COPY root /
		COPY --chown=65532:65532 data /prometheus
		USER 65532:65532
		ENTRYPOINT ["/bin/prometheus"]
	TEXT
	image prometheus "$at" PROMETHEUS_IMAGE
}

aws() {
	local at=$work/moto python
	python3 -c 'import moto.server' 2>/dev/null || { echo "compose-images: no moto" >&2; return; }
	shell "$at/root"
	python3 "$root/scripts/moto-files.py" | sed 's|^/||' >"$work/files"
	tar -C / -c -h -T "$work/files" | tar -C "$at/root" -x
	mapfile -t objects < <(grep -E '\.so(\.|$)' "$work/files" | sed 's|^|/|')
	python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
	libraries "$at/root" "$python" "${objects[@]}"
	# Thousands of files: imported, which is much faster than COPY.
	tar -C "$at/root" --owner=0 --group=0 -c . | docker import --change 'USER 65532:65532' --change 'ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1' \
		--change "ENTRYPOINT [\"$python\", \"-m\", \"moto.server\", \"-H\", \"0.0.0.0\"]" - "bucketseal-moto:$tag" >/dev/null
	echo "MOTO_IMAGE=bucketseal-moto:$tag"
}

case ${2:-all} in
all) seal; storage; balancer; prometheus; aws ;;
balancer) balancer ;;
seal) seal ;;
*) echo "compose-images: $2?" >&2; exit 1 ;;
esac
