#!/bin/sh
# Sign pushed images and attach what they hold: containers/sign.sh FILE FOLDER
# FILE has a line NAME@sha256:... for each image, FOLDER their CycloneDX documents. Needs cosign; COSIGN_ARGS are its
# options, such as --key. Signatures and attestations are stored in the registry, beside the images.
set -eu
file=$1
folder=$2
test -s "$file" || { echo "IMAGE_DIGESTS: expected a file with a line NAME@sha256:... for each pushed image" >&2; exit 2; }
command -v cosign >/dev/null || { echo "cosign is not installed; the images are not signed" >&2; exit 1; }
while read -r image; do
  name=${image%@*}
  parts=$folder/${name##*/}.json
  case $image in *@sha256:*) ;; *) echo "$image: a tag can be moved; expected NAME@sha256:..." >&2; exit 2 ;; esac
  test -s "$parts" || { echo "$parts: missing; run make sbom first" >&2; exit 2; }
  cosign sign --yes ${COSIGN_ARGS:-} "$image"
  cosign attest --yes ${COSIGN_ARGS:-} --type cyclonedx --predicate "$parts" "$image"
done <"$file"
