"""The demo's feature store in a Redis of its own: the online store of production, filled from the same sources."""

from pathlib import Path

import yaml

from benchmarks.redis_server import RedisServer
from polytask.scenario import Scenario
from polytask.storage.atomic import write_text

SETTINGS_FILE = "redis.yaml"


def fill_redis(scenario: Scenario, sources: Path, redis: RedisServer, folder: Path) -> Path:
    """A feature store in `folder` whose online store is `redis`, filled from the sources of the store `sources`.

    Returns `folder`, which holds the registry too.
    """
    from feature_repo.apply import apply_definitions, materialize
    from feature_repo.sources import views_of
    from feature_repo.store import write_store

    settings = {
        "project": scenario.name,
        "provider": "local",
        "registry": "registry.db",
        "online_store": {"type": "redis", "connection_string": redis.address},
        "entity_key_serialization_version": 3,
        "telemetry": False,
    }
    write_text(folder / SETTINGS_FILE, yaml.safe_dump(settings, sort_keys=False))
    store = write_store(scenario, folder, folder / SETTINGS_FILE)
    apply_definitions(store, scenario, sources)
    materialize(store, sources, views_of(scenario))
    return folder
