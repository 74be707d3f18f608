"""Spark as the offline store: the same rows as by the local engine. `make test-spark` runs it."""

import shutil
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
import yaml

from feature_repo.apply import build_store
from feature_repo.store import STORE_FILE, open_store
from feature_repo.training_set import build_training_set

pytest.importorskip("pyspark", reason="pyspark is not installed: `make test-spark` fetches it")
pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed; Spark runs on it")

# Away from UTC, as a cluster's default may be; one partition, as there are 900 rows.
SPARK = {
    "spark.master": "local[1]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-Duser.timezone=America/New_York",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
}


@pytest.fixture(scope="module")
def spark_store(small_scenario, ingested, tmp_path_factory):
    from pyspark.sql import SparkSession

    folder = tmp_path_factory.mktemp("spark")
    settings = {
        "project": small_scenario.name,
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
        "offline_store": {"type": "spark", "spark_conf": SPARK},
        "entity_key_serialization_version": 3,
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    yield build_store(small_scenario, ingested, folder / "store", folder / "settings.yaml")
    SparkSession.getActiveSession().stop()


def test_the_training_set_is_that_of_the_local_engine(spark_store, small_store, small_scenario, tables, tmp_path):
    """Row by row and value by value, types too."""
    by_spark = build_training_set(spark_store, small_scenario, tables.interactions, tmp_path / "spark.parquet")
    local = build_training_set(small_store, small_scenario, tables.interactions, tmp_path / "local.parquet")
    ours, theirs = pq.read_table(local), pq.read_table(by_spark)
    assert theirs.schema.remove_metadata() == ours.schema.remove_metadata()
    assert theirs.to_pylist() == ours.to_pylist()
    assert len(theirs) == len(tables.interactions)


def test_the_online_store_holds_the_same(spark_store, small_store, tables):
    moment = int(datetime(2026, 6, 6, tzinfo=UTC).timestamp())
    rows = [{"user_id": user, "request_time": moment} for user in tables.users["user_id"].tolist()]

    def answers(folder):
        store = open_store(folder)
        return store.get_online_features(store.get_feature_service("small_v1"), rows).to_dict()

    assert answers(spark_store) == answers(small_store)


def test_the_settings_say_utc(spark_store):
    settings = yaml.safe_load((spark_store / STORE_FILE).read_text())["offline_store"]
    assert settings["spark_conf"] == {
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.showConsoleProgress": "false",
        **SPARK,
    }
