#!/bin/sh
# Which tensors there are, and whether the service is ready: REST=http://host:port sh metadata.sh
set -eu
curl --silent --show-error --fail-with-body --max-time 5 "${REST:?http://host:port of the transformer}/v2/models/recommender"
echo
curl --silent --show-error --fail-with-body --max-time 5 "$REST/v2/health/ready"
