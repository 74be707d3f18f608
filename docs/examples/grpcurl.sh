#!/bin/sh
# Ask with grpcurl (texts are base64): GRPC=host:port sh grpcurl.sh, after: python protoset.py inference.protoset
set -eu
grpcurl -plaintext -max-time 5 -protoset inference.protoset -d @ \
  "${GRPC:?host:port of the transformer}" inference.GRPCInferenceService/ModelInfer < "$(dirname "$0")/recommend.json"
