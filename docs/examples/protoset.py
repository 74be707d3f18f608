"""Write the protocol's descriptors, which grpcurl needs: python protoset.py inference.protoset"""

import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tritonclient.grpc import service_pb2

found = FileDescriptorSet()
waiting = [service_pb2.DESCRIPTOR]
while waiting:
    file = waiting.pop()
    if file.name not in {one.name for one in found.file}:
        file.CopyToProto(found.file.add())
        waiting += file.dependencies
Path(sys.argv[1]).write_bytes(found.SerializeToString())
