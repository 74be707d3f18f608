#!/bin/sh
# Why an answer is the first: EXPLAINER=http://host:port sh explain.sh
set -eu
curl --silent --show-error --fail-with-body --max-time 10 "${EXPLAINER:?http://host:port of the explainer}/v1/models/recommender:explain" \
  --header 'content-type: application/json' \
  --data '{"instances": [{"user_id": 10, "query": "a scary ghost story"}], "tasks": ["item"]}'
