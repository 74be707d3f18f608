#!/bin/sh
# What an image holds, read from its file system: containers/sbom.sh IMAGE OUTPUT.json
# Needs podman or docker (CONTAINER) and a Python (PYTHON).
set -eu
image=$1
output=$2
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
id=$("$CONTAINER" create "$image")
# Files of the system and of Python alone; the rest is not needed.
"$CONTAINER" export "$id" | tar -x -C "$root" --wildcards --no-same-owner 'var/lib/dpkg/status*' '*.dist-info/METADATA'
"$CONTAINER" rm "$id" >/dev/null
"${PYTHON:-python3}" containers/sbom.py "$root" "$image" "$output"
