#!/usr/bin/env bash
# image-test.sh [TARGET...]: build the targets of Dockerfile (all three by default) on a real engine,
# without a registry, and run what they made. `make image-test` calls it.
# The base images are stood in for by images that are made here: this machine's Go with the modules
# that it has as its proxy, and Debian's busybox. Without an engine it says so and ends well.
set -euo pipefail

cd "$(dirname "$0")/.."
go=${GO:-go} tag=bucketseal-image-test-$$
targets=("$@")
((${#targets[@]})) || targets=(bucketseal minio setup)

skip() {
	echo "make image-test: skipped: $*"
	exit 0
}
docker info >/dev/null 2>&1 || skip "no container engine answers (docker info)"

work=$(mktemp -d)
end() {
	docker ps -aq --filter "label=$tag" | xargs -r docker rm -f >/dev/null 2>&1 || true
	docker images --format '{{.Repository}}:{{.Tag}}' --filter "reference=$tag-*" | xargs -r docker rmi -f >/dev/null 2>&1 || true
	docker images -aq --filter "label=$tag" | xargs -r docker rmi -f >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap end EXIT
trap 'exit 1' INT TERM
die() {
	echo "make image-test: $*" >&2
	exit 1
}

# As base images have them: a shell with the usual commands, and the authorities.
bases() {
	local root=$work/root name path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin # that of Alpine's images
	(cd "$work" && apt-get download -qq busybox-static >/dev/null 2>&1 && dpkg-deb -x ./busybox-static_*.deb deb) || skip "no busybox-static from Debian"
	mkdir -p "$root"/{bin,tmp,etc/ssl/certs,usr/local,modules,root}
	chmod 1777 "$root/tmp"
	cp "$work/deb/bin/busybox" "$root/bin/"
	for name in $("$root/bin/busybox" --list); do [[ $name == busybox ]] || ln -sf busybox "$root/bin/$name"; done
	cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
	if [[ ! -e $root/bin/install ]]; then # Debian's busybox has none
		cp "$(type -P install)" "$root/bin/"
		ldd "$root/bin/install" | grep -oE '/[^ ]+\.so[^ ]*' | while read -r name; do
			mkdir -p "$root$(dirname "$name")"
			cp -L "$name" "$root$name"
		done
	fi
	printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65532:65532::/tmp:/bin/sh\n' >"$root/etc/passwd"
	tar -C "$root" -c . | docker import --change "LABEL $tag=base" --change "ENV PATH=$path" - "$tag-alpine:1" >/dev/null
	# The authorities are there; what else the Dockerfile asks of apk fails.
	printf '#!/bin/sh\n[ "$*" = "add --no-cache ca-certificates" ]\n' >"$root/bin/apk"
	chmod +x "$root/bin/apk"
	"$go" mod download # as the Dockerfile asks for them, more than a build needs
	cp -r "$("$go" env GOROOT)" "$root/usr/local/go"
	cp -r "$("$go" env GOMODCACHE)/cache/download/." "$root/modules/"
	tar -C "$root" -c . | docker import --change "LABEL $tag=base" --change "ENV PATH=/usr/local/go/bin:$path" --change 'ENV GOPATH=/go' \
		--change 'ENV GOPROXY=file:///modules' --change 'ENV GOSUMDB=off' --change 'ENV GOTOOLCHAIN=local' - "$tag-golang:1" >/dev/null
	rm -rf "$root"
	sed -e "s|^FROM golang:[^ ]*|FROM $tag-golang:1|" -e "s|^FROM alpine:[^ ]*|FROM $tag-alpine:1|" Dockerfile >"$work/Dockerfile"
	! grep -q '^FROM [^ ]*:[^ ]*' <(grep -v "^FROM $tag-" "$work/Dockerfile") || die "the Dockerfile has a base image that is unknown here"
}

# run TARGET ARGUMENT...: as docker-compose.yml holds it in.
run() {
	local target=$1
	shift
	docker run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges --label "$tag=run" "$tag-$target:1" "$@"
}

check_bucketseal() {
	run bucketseal version
	# What the image is made of: the program, the authorities, and a data folder of its user alone.
	docker create --label "$tag=look" "$tag-bucketseal:1" >"$work/id"
	docker export "$(cat "$work/id")" | tar --numeric-owner -tv >"$work/files"
	grep -qE '^drwx------ +65532/65532 .* var/lib/bucketseal/$' "$work/files" || die "its data folder: $(grep var/lib "$work/files")"
	grep -qE '^-rwxr-xr-x .* bucketseal$' "$work/files" || die "no program: $(cat "$work/files")"
	grep -qE ' etc/ssl/certs/ca-certificates.crt$' "$work/files" || die "no authorities"
	# Beside them what the engine adds.
	[[ $(grep -v '^d' "$work/files" | grep -cvE ' (bucketseal|etc/(ssl/certs/ca-certificates.crt|hostname|hosts|resolv.conf|mtab.*)|\.dockerenv|dev/.*)$') == 0 ]] ||
		die "something else is in the image: $(grep -v '^d' "$work/files")"
	[[ $(docker inspect -f '{{.Config.User}}' "$tag-bucketseal:1") == 65532:65532 ]] || die "it runs as $(docker inspect -f '{{.Config.User}}' "$tag-bucketseal:1")"
	if run bucketseal health --address 127.0.0.1:8080 >"$work/said" 2>&1; then die "the health check is content without a server"; fi
}
check_minio() {
	run minio --version | head -n 1
	docker create --label "$tag=look" "$tag-minio:1" >"$work/id"
	docker export "$(cat "$work/id")" | tar --numeric-owner -tv data >"$work/files"
	grep -qE '^drwx------ +65532/65532 .* data/$' "$work/files" || die "MinIO's data folder: $(cat "$work/files")"
}
check_setup() { run setup -c 'mc --version' | head -n 1; }

# stages TARGET: the Dockerfile with what the target is made of. Old engines build all that stands before it.
stages() {
	awk -v target="$1" '
		/^FROM / { n++; name[n] = $NF }
		{ text[n] = text[n] $0 "\n" }
		END {
			need[target] = 1
			for (i = n; i > 0; i--) if (need[name[i]]) {
				rest = text[i]
				while (match(rest, /--from=[^ ]+/)) {
					need[substr(rest, RSTART + 7, RLENGTH - 7)] = 1
					rest = substr(rest, RSTART + RLENGTH)
				}
			}
			for (i = 1; i <= n; i++) if (need[name[i]]) printf "%s", text[i]
		}' "$work/Dockerfile"
}

bases
for target in "${targets[@]}"; do
	at=$SECONDS
	stages "$target" >"$work/Dockerfile.$target"
	docker build --label "$tag=$target" --network none --file "$work/Dockerfile.$target" --target "$target" --tag "$tag-$target:1" . >"$work/log" 2>&1 || {
		tail -n 15 "$work/log" >&2
		die "the target $target is not built"
	}
	echo "built $target: $((SECONDS - at)) s, $(docker image inspect -f '{{.Size}}' "$tag-$target:1") bytes"
	"check_$target"
done
echo "make image-test: all is well"
