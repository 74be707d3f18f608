"""With a certificate both servers of the transformer speak TLS, and neither speaks plain text."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from serving.local.triton import choose_ports
from tests.certificates import write_certificates

SERVER = Path(__file__).with_name("server_with_certificate.py")
LIVE = "/inference.GRPCInferenceService/ServerLive"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, Path]]:
    """Ports of REST and gRPC, and the certificate of the authority."""
    folder = tmp_path_factory.mktemp("tls")
    write_certificates(folder, "127.0.0.1", "localhost")
    rest, rpc = choose_ports(None, None)
    program = [sys.executable, str(SERVER), str(rest), str(rpc), str(folder / "tls.crt"), str(folder / "tls.key")]
    process = subprocess.Popen(program)
    try:
        yield rest, rpc, folder / "ca.crt"
    finally:
        process.terminate()
        process.wait(20)


def live(channel: grpc.Channel, seconds: float) -> bytes:
    with channel:
        call = channel.unary_unary(LIVE)
        answer: bytes = call(b"", timeout=seconds, wait_for_ready=True)
        return answer


def test_both_servers_speak_tls_and_nothing_else(served: tuple[int, int, Path]):
    rest, rpc, authority = served
    trusted = grpc.ssl_channel_credentials(authority.read_bytes())
    assert live(grpc.secure_channel(f"localhost:{rpc}", trusted), 60) == b"\x08\x01"
    end = time.monotonic() + 30
    while True:
        try:
            assert httpx.get(f"https://127.0.0.1:{rest}/v2/health/live", verify=str(authority)).status_code == 200
            break
        except httpx.TransportError:
            assert time.monotonic() < end
            time.sleep(0.1)
    with pytest.raises(grpc.RpcError):
        live(grpc.insecure_channel(f"localhost:{rpc}"), 2)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{rest}/v2/health/live")


@pytest.mark.parametrize("module", ["serving.transformer", "serving.explainer"])
def test_a_certificate_without_its_key_is_refused(module: str):
    program = [sys.executable, "-m", module, "--bundle=a", "--feature_store=b", "--predictor_host=c"]
    program += ["--predictor_protocol=grpc-v2", "--ssl_certfile=/etc/tls/tls.crt"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--ssl_certfile and --ssl_keyfile: one is missing; expected both or neither" in done.stderr
