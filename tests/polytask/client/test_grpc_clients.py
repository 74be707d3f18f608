"""Both clients against a small server: retries, deadlines, TLS and tokens. The same holds for both."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from polytask.client import AsyncRecommenderClient, Recommendations, RecommenderClient, ServiceUnavailable, Tls, Value
from polytask.errors import RequestError, ServingError
from tests.polytask.client.fake_server import FakeServer, running

Ask = Callable[..., Recommendations]


def ask_and_wait(url: str, **options: Any) -> Recommendations:
    with RecommenderClient(url, **options) as client:
        assert client.recommend_many([]) == []
        return client.recommend(5, k=1)


def ask_in_a_loop(url: str, **options: Any) -> Recommendations:
    async def go() -> Recommendations:
        async with AsyncRecommenderClient(url, **options) as client:
            assert await client.recommend_many([]) == []
            return await client.recommend(5, k=1)

    return asyncio.run(go())


@pytest.fixture(params=[ask_and_wait, ask_in_a_loop], ids=["sync", "asyncio"])
def send_request(request: pytest.FixtureRequest) -> Ask:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as fake:
        yield fake


def test_the_answer_is_typed_and_carries_the_timings(send_request: Ask, server: FakeServer):
    answer = send_request(server.url)
    assert answer.tasks == {"stars": (Value(4.5),)}
    assert (answer.model_version, answer.contract_checksum) == ("3", "c" * 64)
    assert answer.timings == {"features": 1.5, "predictor": 2.25}
    assert server.inputs == [{"user_id": ("INT64", [1, 1]), "k": ("INT64", [1])}]


@pytest.mark.parametrize(
    ("refusal", "calls", "raised"),
    [
        (grpc.StatusCode.UNAVAILABLE, 3, ServiceUnavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 3, ServiceUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 1, ServiceUnavailable),
        (grpc.StatusCode.INVALID_ARGUMENT, 1, RequestError),
        (grpc.StatusCode.UNAUTHENTICATED, 1, ServingError),
        (grpc.StatusCode.INTERNAL, 1, ServingError),
    ],
)
def test_only_what_was_not_begun_is_tried_again(
    send_request: Ask, server: FakeServer, refusal: grpc.StatusCode, calls: int, raised: type[Exception]
):
    server.refusals = [refusal] * 5
    with pytest.raises(raised) as caught:
        send_request(server.url, attempts=3)
    assert type(caught.value) is raised
    assert len(server.seconds_left) == calls
    # All attempts share one deadline. (gRPC rounds it up to a tenth of a second: neighbours may look alike.)
    assert server.seconds_left[0] < 5.2
    assert calls == 1 or server.seconds_left[-1] < server.seconds_left[0]


def test_a_server_that_has_room_again_answers(send_request: Ask, server: FakeServer):
    server.refusals = [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE]
    assert send_request(server.url).tasks
    assert len(server.seconds_left) == 3


def test_a_retry_waits_for_as_long_as_the_server_asks(send_request: Ask, server: FakeServer):
    server.refusals, server.retry_after = [grpc.StatusCode.RESOURCE_EXHAUSTED], "1"
    assert send_request(server.url).tasks
    first, second = server.times
    assert second - first >= 1.0


def test_a_wait_beyond_the_deadline_is_not_begun(send_request: Ask, server: FakeServer):
    server.refusals, server.retry_after = [grpc.StatusCode.UNAVAILABLE] * 3, "60"
    with pytest.raises(ServiceUnavailable):
        send_request(server.url, deadline_seconds=5.0)
    assert len(server.times) == 1


def test_a_failing_server_soon_gets_no_retries(server: FakeServer):
    """10 tokens, of which half are kept: 5 failures at most are retried, whatever the number of calls."""
    calls = 20
    server.refusals = [grpc.StatusCode.UNAVAILABLE] * 1000
    with RecommenderClient(server.url, attempts=3) as client:
        for _ in range(calls):
            with pytest.raises(ServiceUnavailable):
                client.recommend(5)
        assert calls < len(server.times) <= calls + 5
        server.refusals.clear()
        before = len(server.times)
        for _ in range(70):  # each gives a tenth of a token back
            client.recommend(5)
        assert len(server.times) == before + 70
        server.refusals = [grpc.StatusCode.UNAVAILABLE]
        assert client.recommend(5).tasks
        assert len(server.times) == before + 72


def test_no_attempt_begins_after_the_deadline(send_request: Ask, server: FakeServer):
    server.refusals = [grpc.StatusCode.UNAVAILABLE] * 100
    with pytest.raises(ServiceUnavailable):
        send_request(server.url, attempts=100, deadline_seconds=0.4)
    assert 2 <= len(server.seconds_left) < 10
    assert len(server.refusals) + len(server.seconds_left) == 100


def test_a_server_that_is_not_there_is_unavailable_within_the_deadline(send_request: Ask):
    start = time.monotonic()
    with pytest.raises(ServiceUnavailable, match=r"cannot connect; check that it is running and that the address is"):
        send_request("127.0.0.1:9", deadline_seconds=1.0)
    assert time.monotonic() - start < 3.0


def test_a_token_goes_with_every_call(send_request: Ask, server: FakeServer):
    tokens = iter(["first", "second"])
    server.refusals = [grpc.StatusCode.UNAVAILABLE]
    send_request(server.url, token=lambda: next(tokens))
    assert [headers["authorization"] for headers in server.headers] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "süß"])
def test_a_token_that_no_header_can_carry_is_refused(send_request: Ask, server: FakeServer, token: str):
    with pytest.raises(ServingError, match="the token is empty or holds") as caught:
        send_request(server.url, token=token)
    assert not token or token not in str(caught.value)
    assert server.headers == []


def test_a_token_in_plain_text_stays_on_this_machine():
    for url in ("127.0.0.1:1", "localhost:1", "[::1]:1"):
        RecommenderClient(url, token="t").close()
    for url in ("recommender.example.com:80", "10.0.0.7:8081", "localhost.example.com:1"):
        with pytest.raises(RequestError, match="in plain text"):
            RecommenderClient(url, token="t")
        RecommenderClient(url, token="t", insecure_token=True).close()
        RecommenderClient(url, token="t", tls=Tls()).close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Tls:
    """The certificate files of a client that the authority has signed."""
    client = authority.issue_cert("client@example.com")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    return Tls(tmp_path / "ca.pem", tmp_path / "client.pem", tmp_path / "key.pem")


@pytest.fixture
def secure_server(authority: trustme.CA) -> Iterator[FakeServer]:
    """A server that shows a certificate, and wants one."""
    own = authority.issue_cert("localhost")
    pair = (own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_server_credentials([pair], authority.cert_pem.bytes(), require_client_auth=True)
    with running(credentials) as fake:
        yield fake


def test_tls_with_certificates_on_both_sides(send_request: Ask, secure_server: FakeServer, files: Tls):
    assert send_request(secure_server.url, tls=files, token="secret").tasks
    assert secure_server.headers[0]["authorization"] == "Bearer secret"


def test_whoever_cannot_show_a_certificate_is_not_served(send_request: Ask, secure_server: FakeServer, files: Tls):
    with pytest.raises(ServiceUnavailable):
        send_request(secure_server.url, tls=Tls(files.root_certificates), attempts=1)
    assert secure_server.headers == []


def test_a_server_of_another_authority_is_not_trusted(
    send_request: Ask, secure_server: FakeServer, files: Tls, tmp_path: Path
):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with pytest.raises(ServiceUnavailable, match=r"(?i)certificate|handshake"):
        send_request(secure_server.url, tls=Tls(tmp_path / "other.pem", files.certificate, files.key), attempts=1)
    assert secure_server.headers == []


def test_files_that_are_not_there_or_half_there_are_named(tmp_path: Path):
    with pytest.raises(RequestError, match=r"nowhere\.pem is no file"):
        Tls(tmp_path / "nowhere.pem")
    with pytest.raises(RequestError, match="one of certificate and key"):
        Tls(certificate=tmp_path / "client.pem")


def test_both_clients_have_the_same_face():
    faces = [
        {name for name in dir(kind) if not name.startswith("_")} for kind in (RecommenderClient, AsyncRecommenderClient)
    ]
    assert faces[0] == faces[1] == {"close", "input_types", "recommend", "recommend_many"}


def test_metadata_is_read(server: FakeServer):
    with RecommenderClient(server.url) as client:
        assert client.input_types() == {"user_id": "INT64"}
