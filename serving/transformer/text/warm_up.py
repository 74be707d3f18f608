"""The cache of text vectors, filled in the background with the texts of the users' profiles, the commonest first.

A release starts with an empty cache, and most calls have no query: then the text is a profile at a moment. The
first request would wait for the text encoder. No request waits for the filling, and traffic goes first: it encodes a
few texts at a time and pauses for as long as that took.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from polytask.data.request import RequestFeatures
from polytask.errors import PolytaskError
from polytask.scenario.names import USERS
from polytask.text.templates import is_missing
from polytask.text.time_context import time_context
from serving.transformer.bundle import Bundle
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.text.vectors import TextVectors

LOGGER = logging.getLogger(__name__)

TEXTS_AT_ONCE = 8
CALL_SECONDS = 5.0
RETRY_SECONDS = 0.5


def common_texts(bundle: Bundle, moment: int, count: int) -> list[str]:
    """At most `count` texts that calls without a query have at a moment (unix seconds).

    First that of an unknown user, then those of the catalogue's users by how many have it.
    """
    scenario = bundle.contract.scenario
    words = time_context(datetime.fromtimestamp(moment, UTC), scenario.features.timezone)

    def text(profile: Mapping[str, object]) -> str:
        return bundle.encoder.text(RequestFeatures(profile=profile, context=words))

    columns = list(scenario.features.profile)
    rows = bundle.catalogues[USERS].table[columns].itertuples(index=False, name=None)
    requested = Counter(text({name: _stored(value) for name, value in zip(columns, row, strict=True)}) for row in rows)
    unknown = text(dict.fromkeys(columns))
    return list(dict.fromkeys([unknown, *(found for found, _ in requested.most_common(count))]))[:count]


def _stored(value: object) -> object:
    """A value of the catalogue as the feature store has it."""
    return None if not isinstance(value, (list, tuple, np.ndarray)) and is_missing(value) else value


async def fill(vectors: TextVectors, texts: Sequence[str]) -> None:
    """Encode what the cache does not have. Waits while the predictor is unavailable; any other error ends it with a
    line in the log, and calls then report it themselves.
    """
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        part = texts[start : start + TEXTS_AT_ONCE]
        while True:
            begin = time.monotonic()
            try:
                await vectors.keep(part, Deadline(CALL_SECONDS))
                break
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except (PolytaskError, RuntimeError) as error:
                LOGGER.warning("texts: the cache is not filled: %s", error)
                return
        await asyncio.sleep(time.monotonic() - begin)
    LOGGER.info("texts: the cache has %d vectors", len(vectors))
