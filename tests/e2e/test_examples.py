"""The examples in docs/examples, run as a reader would run them, against the live stack.

grpcurl is in no registry that the project installs from: its message and its descriptors are used here as it uses them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from tritonclient.grpc import service_pb2, service_pb2_grpc

from polytask.client import RecommenderClient
from serving.local.explainer import ExplainerProcess

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def run(*words, **variables):
    environment = {**os.environ, **variables, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=EXAMPLES, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def right(small_stack):
    """The client's response for user 10."""
    with RecommenderClient(small_stack.grpc_url) as client:
        return client.recommend(10, query="a scary ghost story", k=3)


def test_every_example_is_named_and_run():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    mine = Path(__file__).read_text(encoding="utf-8")
    files = [path.name for path in EXAMPLES.iterdir() if path.is_file() and path.name != "README.md"]
    assert len(files) > 5
    for name in files:
        assert f"({name})" in text
        assert f'"{name}"' in mine


def test_the_client_that_waits(small_stack, right):
    lines = run(sys.executable, "ask.py", small_stack.grpc_url, "10", "20").splitlines()
    assert lines[0] == f"item {[entry.title for entry in right.tasks['item']]}"
    assert lines[1].startswith("user ")
    assert lines[3].startswith("merged [(")
    assert right.model_version in lines[4]
    assert [line.split()[0] for line in lines[5:]] == ["10", "20"]


def test_the_client_for_asyncio(small_stack):
    with RecommenderClient(small_stack.grpc_url) as client:
        expected = {user: [entry.id for entry in client.recommend(user, k=3).tasks["item"]] for user in (10, 20)}
    lines = run(sys.executable, "ask_async.py", small_stack.grpc_url, "10", "20").splitlines()
    assert lines == [*(f"{user} {ids}" for user, ids in expected.items()), "refused: k"]


def test_rest_with_curl(small_stack, right):
    answer = json.loads(run("sh", "recommend.sh", REST=small_stack.rest_url))
    assert answer["id"] == "example-1"
    got = {output["name"]: output["data"] for output in answer["outputs"]}
    assert got["item_ids"] == [entry.id for entry in right.tasks["item"]]
    assert got["item_titles"] == [entry.title for entry in right.tasks["item"]]
    metadata, ready = run("sh", "metadata.sh", REST=small_stack.rest_url).splitlines()
    assert "user_id" in [tensor["name"] for tensor in json.loads(metadata)["inputs"]]
    assert json.loads(ready)["ready"] is True


def test_the_explainer_with_curl(small_stack, small_bundle, small_store, tmp_path, right):
    process = ExplainerProcess(small_stack.triton.grpc_address, small_bundle, small_store, tmp_path / "explainer.log")
    try:
        process.start()
        process.wait_until_ready()
        answer = json.loads(run("sh", "explain.sh", EXPLAINER=process.url))
    finally:
        process.stop()
    found = answer["explanations"][0]["tasks"]["item"]
    assert found["answer"]["id"] == right.tasks["item"][0].id
    assert len(found["history"]) == 10


def test_grpcurl_has_what_it_needs(small_stack, right, tmp_path):
    run(sys.executable, "protoset.py", str(tmp_path / "inference.protoset"))
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString((tmp_path / "inference.protoset").read_bytes()).file[::-1]:
        pool.Add(file)
    script = (EXAMPLES / "grpcurl.sh").read_text(encoding="utf-8")
    method = script.split("inference.GRPCInferenceService/")[1].split()[0]
    assert pool.FindServiceByName("inference.GRPCInferenceService").FindMethodByName(method).name == method
    message = (EXAMPLES / "recommend.json").read_text(encoding="utf-8")
    request = json_format.Parse(message, service_pb2.ModelInferRequest())
    with grpc.insecure_channel(small_stack.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = getattr(stub, method)(request, timeout=10)
    ids = dict(zip([output.name for output in answer.outputs], answer.outputs, strict=True))["item_ids"]
    assert list(ids.contents.int64_contents) == [entry.id for entry in right.tasks["item"]]
