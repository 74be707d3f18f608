#!/bin/sh
# Reference images of an overlay by digest: containers/pin.sh OVERLAY NAME@sha256:... [...]
# The entries of `images` in its kustomization.yaml get `digest` in place of `newTag`.
set -eu
file=$1/kustomization.yaml
shift
for image in "$@"; do
  name=${image%@*}
  digest=${image#*@}
  expr "$digest" : 'sha256:[0-9a-f]\{64\}$' >/dev/null || { echo "$image: expected NAME@sha256:<64 hex digits>" >&2; exit 2; }
  grep -q "{name: $name, " "$file" || { echo "$file: images has no entry {name: $name, ...}" >&2; exit 2; }
  sed -i "s|{name: $name, [a-zA-Z]*: [^}]*}|{name: $name, digest: $digest}|" "$file"
done
