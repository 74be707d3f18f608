import asyncio

import pytest

from polytask.errors import ContractError
from serving.transformer.concurrency.deadline import Unavailable
from serving.transformer.server import health
from serving.transformer.server.health import Health


class Part:
    def __init__(self, error=None):
        self.error = error

    async def probe(self, deadline):
        if self.error is not None:
            raise self.error


def test_it_is_unready_until_all_parts_answered():
    checked = Health([Part().probe])
    with pytest.raises(Unavailable, match="just started"):
        checked.check()
    asyncio.run(checked.send_request())
    checked.check()


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (Unavailable("store: gone"), Unavailable, "store: gone"),
        (ContractError("version 7"), ContractError, "version 7"),
        (OSError("odd"), Unavailable, "OSError: odd"),
        (asyncio.CancelledError(), Unavailable, "CancelledError: "),
    ],
)
def test_the_reasons_stand_together_and_go_when_the_parts_return(error, raised, text):
    first, second = Part(error), Part(Unavailable("predictor: gone"))
    checked = Health([first.probe, second.probe])
    asyncio.run(checked.send_request())
    with pytest.raises(raised, match=f"{text}; predictor: gone"):
        checked.check()
    first.error = second.error = None
    asyncio.run(checked.send_request())
    checked.check()


def test_an_old_round_counts_for_nothing(monkeypatch):
    checked = Health([Part().probe])
    asyncio.run(checked.send_request())
    monkeypatch.setattr(health, "STALE_SECONDS", -1.0)
    with pytest.raises(Unavailable, match="last dependency health check"):
        checked.check()


def test_rounds_follow_each_other(monkeypatch):
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(health, "RETRY_SECONDS", 0.01)
    part = Part()

    async def run():
        checked = Health([part.probe])
        watching = asyncio.create_task(checked.watch())
        for error in (None, Unavailable("gone"), None):
            part.error = error
            await asyncio.sleep(0.1)
            if error is None:
                checked.check()
            else:
                with pytest.raises(Unavailable, match="gone"):
                    checked.check()
        watching.cancel()

    asyncio.run(run())
