#!/usr/bin/env bash
# install-tool.sh DIR NAME PACKAGE VERSION: leave PACKAGE@VERSION as DIR/NAME.
# Called by the Makefile; a binary of that version is not built again.
set -euo pipefail

dir=$1 name=$2 package=$3 version=$4
go=${GO:-go}

if [[ -x $dir/$name ]]; then
	info=$("$go" version -m "$dir/$name" 2>/dev/null || true)
	if [[ $info == *"path"$'\t'"$package"$'\n'* && $info == *"$version"* ]]; then
		touch "$dir/$name"
		exit 0
	fi
fi
echo "installing $name ($package@$version)"
# A value like -buildvcs or -mod from the environment is meant for this module's builds.
GOFLAGS='' GOBIN=$dir CGO_ENABLED=0 "$go" install -trimpath "$package@$version"
touch "$dir/$name"
