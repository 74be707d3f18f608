"""Every place that stores personal data. `polytask forget` has a handler for each that it reaches, and
docs/personal-data.md is written from this list.
"""

from dataclasses import dataclass

from polytask.presentation.markdown_table import table


@dataclass(frozen=True)
class Place:
    """A place: where it is, what it holds of a user, how long, and what `polytask forget` does there.

    `reached` is False where the command only reports, or does not know, that there is something.
    """

    name: str
    where: str
    holds: str
    kept: str
    forget: str
    reached: bool = True


SOURCE_TABLES = "source tables"
PACKAGED_DATA = "packaged data sets"
FORGOTTEN = "list of forgotten users"
PIPELINE_RUNS = "pipeline runs"
TRAINING_STATE = "training state"
OFFLINE_STORE = "offline store"
ONLINE_STORE = "online store"
PUBLISHED = "published versions"
TEXT_VECTORS = "text vectors"
EVALUATIONS = "evaluations"
SUMMARIES = "demo summaries"
SERVING_LOGS = "logs of the local servers"

PLACES = (
    Place(
        SOURCE_TABLES,
        "`users` and `interactions` in the folder of `source.path`",
        "keys, profiles, events",
        "yours to decide",
        "counts the rows and reports them; deletes them with `--sources`",
    ),
    Place(
        PACKAGED_DATA,
        "`build/cache/movielens-100k/` and `build/cache/reviews/`, unpacked from the package in `build/cache/wheels/`; "
        "or below `POLYTASK_CACHE`",
        "all rows of the published data set",
        "until they are deleted; the next run of the scenario downloads and unpacks them again",
        "counts the rows of an unpacked data set and reports them; they stay, and the list of forgotten users keeps "
        "them out of every run",
    ),
    Place(
        FORGOTTEN,
        "`forgotten.json` in the folder of the source tables; `build/cache/forgotten/<scenario>.json` for a packaged "
        "data set",
        "a salted hash of each forgotten key",
        "for ever, so that no run reads a forgotten user again",
        "adds the user",
    ),
    Place(
        PIPELINE_RUNS,
        "`<workspace>/<scenario>/pipeline/`",
        "ingested tables, rejected rows, training sets, checkpoints, bundles, evaluations and reports with example "
        "users, tables of `batch-recommend`, kfp's cache of steps, `pipeline.log`",
        "until it is deleted: each run adds a folder",
        "deletes the folder; the next run makes again what it needs",
    ),
    Place(
        TRAINING_STATE,
        "`<workspace>/<scenario>/<scenario>.resume.safetensors`",
        "a vector of each user",
        "until the interrupted training is finished",
        "deletes the file",
    ),
    Place(
        OFFLINE_STORE,
        "`sources/user_profile.parquet` and `sources/user_history.parquet` of the feature store's folder",
        "profiles and histories",
        "until the next run writes them again",
        "writes the files again without the rows; names tables of Postgres and Snowflake, which you load and delete "
        "from",
    ),
    Place(
        ONLINE_STORE,
        "what `feature_store.yaml` names: SQLite (`online.db`), Redis, others",
        "the newest profile and history of each user",
        "`key_ttl_seconds` of Redis; otherwise until it is overwritten",
        "deletes the rows in SQLite (the file is compacted, so that no byte stays) and in Redis; in other stores the "
        "values are replaced by empty ones and the key stays. Backups of the store are yours",
    ),
    Place(
        PUBLISHED,
        "`<workspace>/<scenario>/published/<version>/` and `published/checkpoints/<version>/`",
        "`catalogues/users.parquet` (keys, profiles), `priorities.parquet` (keys, follow rates), a vector and a bias "
        "of each user in the model where a task lists users",
        "`retention` of the scenario; otherwise until `polytask models prune`",
        "the live version and the one before it are exported again without the user, under new version numbers; older "
        "ones are deleted. The weights that all users have trained stay, until the next training",
    ),
    Place(
        TEXT_VECTORS,
        "`build/cache/text-vectors/`, or below `POLYTASK_CACHE`",
        "vectors of profile texts, under the SHA-256 of the text",
        "until they are deleted",
        "deletes those of the user's profile at any time of the week",
    ),
    Place(
        EVALUATIONS,
        "`build/eval/<scenario>/`",
        "checkpoints; `metrics.json` and `report.html` with example users",
        "until they are deleted",
        "deletes the folder",
    ),
    Place(
        SUMMARIES,
        "`<workspace>/<scenario>/summary.json` and `<workspace>/summary.json`",
        "the keys that the demo requested, and recommended users",
        "until the next demo",
        "removes the recommendations from the file where they name the user",
    ),
    Place(
        SERVING_LOGS,
        "`<workspace>/<scenario>/serve/` (`polytask demo`), `build/serve/` (`polytask serve`)",
        "no keys and no texts at info level; at debug level reasons of refused requests, which may quote the caller",
        "until the next start of the servers",
        "deletes the files that name the key; a server that is running has no log until it is started again",
    ),
    Place(
        "running servers",
        "memory of transformer, explainer and Triton",
        "the users' catalogue, the model, vectors of recent texts",
        "until they load another version",
        "names the version that replaces the live one: a running `polytask serve` loads it by itself, a cluster needs "
        "`polytask rollout`",
        reached=False,
    ),
    Place(
        "copies in object storage",
        "the pipeline's `storage_uri` (s3://..., pvc://...), one folder per version; artifacts of Kubeflow Pipelines",
        "as published versions and as pipeline runs",
        "a lifecycle rule of the storage",
        "reports which versions to delete",
        reached=False,
    ),
    Place(
        "batch recommendations",
        "`output` of the pipeline `batch-recommend`",
        "keys, recommendations",
        "yours to decide",
        "run the pipeline again",
        reached=False,
    ),
    Place(
        "logs on a cluster",
        "standard output of the pods",
        "as the logs of the local servers; of pipeline steps counts and, for columns that are not personal, bad values",
        "your log collector",
        "nothing to do at info level",
        reached=False,
    ),
    Place(
        "metrics and traces",
        "Prometheus, OpenTelemetry",
        "nothing personal: no label and no attribute has a key or a text",
        "your servers' settings",
        "nothing to do",
        reached=False,
    ),
)


def places_table() -> str:
    """The list as a Markdown table."""
    rows = [(place.name, place.where, place.holds, place.kept, place.forget) for place in PLACES]
    return "\n".join(
        table(("Place", "Where", "What it holds", "How long", "What `polytask forget` does"), rows)
    ).strip()
