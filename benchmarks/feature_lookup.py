"""The cost of an online feature lookup, compared with a raw Redis read of the same bytes, for 1 and for 100 users.

Raw: one redis-py pipeline of HMGETs, of the keys and fields that Feast wrote, whose values are dropped as they come.
Both run in turn in this process, on other users each time.
"""

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from benchmarks.figures import Figure, interleaved, ratios
from benchmarks.redis_server import RedisServer
from benchmarks.workbench import Workbench
from polytask.scenario import Scenario
from polytask.scenario.names import USERS
from serving.transformer.features.reader import FeatureReader

BATCHES = (1, 100)
# Each measurement looks up about this many users.
LOOKUPS = 2000
MOST_TIMES = 500
BAR = 3.0
Users = list[int | str]
Groups = Iterator[Users]


def measure(bench: Workbench, rounds: int) -> list[Figure]:
    """`feast_vs_redis_1` and `feast_vs_redis_100`: seconds of the look-up over those of the raw read."""
    users: Any = bench.bundle.catalogues[USERS].ids
    found = compare(bench.reader, bench.redis, bench.contract.scenario, users, rounds, bench.size)
    what = (
        "time of the transformer's feature look-up over that of a raw Redis pipeline of the same bytes, {} users a call"
    )
    return [
        Figure(name, what.format(name.rpartition("_")[2]), {"ratio": found[name]}, BAR, bar_is="at most")
        for name in (f"feast_vs_redis_{batch}" for batch in BATCHES)
    ]


def compare(
    reader: FeatureReader,
    redis: RedisServer,
    scenario: Scenario,
    users: Users,
    rounds: int,
    size: Callable[[int], int] = int,
) -> dict[str, list[float]]:
    """`feast_vs_redis_<batch>` -> the ratio of each round."""
    raw = RawRedis(redis, scenario, reader)
    found = {}
    for batch in BATCHES:
        starts = range(0, len(users), batch)
        groups = cycle([[users[(start + i) % len(users)] for i in range(batch)] for start in starts])
        moments = [int(time.time())] * batch
        assert raw.read(next(groups)), "the raw read finds nothing: the keys are wrong"
        times = max(2, size(min(MOST_TIMES, LOOKUPS // batch)))

        def feast(_: int, groups: Groups = groups, moments: list[int] = moments, times: int = times) -> float:
            return _seconds(lambda group: reader.read(group, moments), groups, times)

        def plain(_: int, groups: Groups = groups, times: int = times) -> float:
            return _seconds(raw.read, groups, times)

        seconds = interleaved(rounds, {"feast": feast, "redis": plain})
        found[f"feast_vs_redis_{batch}"] = ratios(seconds["feast"], seconds["redis"])
    return found


class RawRedis:
    """Reads what Feast wrote with nothing but redis-py: keys and fields are made ahead."""

    def __init__(self, server: RedisServer, scenario: Scenario, reader: FeatureReader) -> None:
        import redis
        from feast.infra.online_stores.helpers import _mmh3, _redis_key
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        host, _, port = server.address.partition(":")
        self._client = redis.Redis(host, int(port))
        users = scenario.entities.users
        kind = "int64_val" if users.key_type == "integer" else "string_val"

        def key(user: int | str) -> bytes:
            value: dict[str, Any] = {kind: user}
            entity = EntityKey(join_keys=[users.key], entity_values=[Value(**value)])
            return _redis_key(scenario.name, entity)

        self._key = key
        self._keys: dict[int | str, bytes] = {}
        self._fields = [
            [*(_mmh3(f"{read.view.name}:{name}") for name in read.features), f"_ts:{read.view.name}"]
            for read in reader.reads
        ]

    def read(self, users: Users) -> int:
        """Read the fields of some users; returns how many have a value."""
        for user in users:
            if user not in self._keys:
                self._keys[user] = self._key(user)
        with self._client.pipeline(transaction=False) as pipe:
            for fields in self._fields:
                for user in users:
                    pipe.hmget(self._keys[user], fields)  # type: ignore[arg-type]  # redis-py takes bytes too
            return sum(row[0] is not None for row in pipe.execute())


def _seconds(way: Callable[[Users], Any], groups: Groups, times: int) -> float:
    chosen = [next(groups) for _ in range(times)]
    start = time.perf_counter()
    for group in chosen:
        way(group)
    return time.perf_counter() - start
