"""What an exported bundle promises its clients and servers: models, tensors, versions, checksums."""
