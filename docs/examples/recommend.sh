#!/bin/sh
# Ask over REST: REST=http://host:port sh recommend.sh
set -eu
curl --silent --show-error --fail-with-body --max-time 5 "${REST:?http://host:port of the transformer}/v2/models/recommender/infer" \
  --header 'content-type: application/json' --header 'x-request-id: example-1' --data '{
    "inputs": [
      {"name": "user_id", "datatype": "INT64", "shape": [1, 1], "data": [10]},
      {"name": "query", "datatype": "BYTES", "shape": [1, 1], "data": ["a scary ghost story"]},
      {"name": "k", "datatype": "INT64", "shape": [1], "data": [3]}
    ],
    "outputs": [{"name": "item_ids"}, {"name": "item_titles"}, {"name": "item_scores"}]
  }'
