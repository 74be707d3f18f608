"""The reference of the serving API as Markdown: every name, datatype, shape and limit from the code that serves it."""

from collections.abc import Iterable, Sequence

from polytask.contract.contract import MULTITASK, RECOMMENDER, TEXT_ENCODER
from polytask.contract.names import (
    COLD_START,
    CONTEXT,
    COUNT,
    DEGRADED,
    DISLIKED_ITEMS,
    EXCLUDE_ITEMS,
    FILTERS,
    PRIORITY,
    PRIORITY_TASKS,
    QUERY,
    RECENT_ITEMS,
    SLATE,
    SLATE_IDS,
    SLATE_SCORES,
    SLATE_TASKS,
    SLATE_TITLES,
    STALE_FEATURES,
    TASK_WEIGHTS,
    TASKS,
    TIMESTAMP,
    TRUNCATED,
    USER_ID,
)
from polytask.contract.tensors import (
    ALLOWED,
    TensorSpec,
    multitask_inputs,
    multitask_outputs,
    text_inputs,
    text_outputs,
)
from polytask.scenario import Scenario
from polytask.scenario.names import USERS
from serving.explainer.occlusion import MAX_PARTS, MAX_QUERY_GROUPS
from serving.explainer.parse import FIELDS, MAX_INSTANCES
from serving.transformer.api import parse
from serving.transformer.api.answers import SLATE_TYPES, answer_names, answer_types
from serving.transformer.api.filters import MAX_FILTERS, filterable
from serving.transformer.observability.call_record import STAGES
from serving.transformer.server.grpc.options import AGE_SECONDS, IDLE_SECONDS, KEEPALIVE_SECONDS, LEAST_PING_SECONDS
from serving.transformer.server.limits import (
    MAX_ID_BYTES,
    MAX_INPUTS,
    MAX_OUTPUTS,
    MAX_PARAMETERS,
    MAX_WATCHERS,
    REFLECTION_SECONDS,
    Limits,
    full_request_bytes,
    full_request_values,
)
from serving.transformer.server.rest.connections import SILENT_SECONDS
from serving.transformer.server.rest.content_encoding import ALLOWED as ENCODINGS
from serving.triton.model_config import MAX_BATCH_SIZE

STATUSES = (
    ("OK", "200", "The answer."),
    ("INVALID_ARGUMENT", "400", "A field is wrong; the message begins with its name, and says what is allowed."),
    ("PERMISSION_DENIED", "403", "The repository API (`load`, `unload`) is disabled."),
    ("NOT_FOUND", "404", "No such model, model version or path."),
    ("DEADLINE_EXCEEDED", "408", "The message or body did not arrive in time."),
    ("RESOURCE_EXHAUSTED", "413", "The message or body is larger than the limit."),
    ("", "415", "The `Content-Encoding` is not one that is read."),
    (
        "RESOURCE_EXHAUSTED",
        "429",
        "As many calls are in flight and queued as are accepted; retry after `Retry-After` seconds. The body is not "
        "read.",
    ),
    ("", "431", "The headers are larger than the limit."),
    (
        "UNAVAILABLE",
        "503",
        "Triton is unavailable, or the feature store where `--strict_features` is true, or the server is about to "
        "stop. With `Retry-After` it is an overload.",
    ),
    (
        "DEADLINE_EXCEEDED",
        "504",
        "The deadline of the server, or the caller's own where it is shorter, passed. Do not retry: the time is spent.",
    ),
)

RETRY = """`Retry-After` is in seconds, a header over REST. Over gRPC it is the trailing metadata `retry-after`, and
`grpc-retry-pushback-ms`, which gRPC's own retry policies read."""
HEAD = """Made by `serving/api_reference.py` from the scenario; a test fails when this page is not what it makes.
Other scenarios have other tasks, keys and lengths: `GET /v2/models/recommender` tells those of a running
server.

## The recommender

Open Inference Protocol v2: `inference.GRPCInferenceService/ModelInfer` over gRPC, or `POST
/v2/models/recommender/infer` over REST, where tensors are JSON or use the binary extension. BYTES elements
are UTF-8: half of a surrogate pair, which JSON can name, is refused with the name of the field."""
VERSIONS = """A request may name the model version that has to answer: `model_version` over gRPC, or
`/v2/models/recommender/versions/VERSION/infer` over REST; the same for readiness and metadata. A version that is not
served is refused with NOT_FOUND or 404, which names those that are. While a rolling update replaces Triton's pods two
versions may be served; a request that names one is never answered by the other. Metadata lists the served versions."""
COMPRESSION = f"""REST bodies may have `Content-Encoding: gzip` or `deflate` (zlib), binary bodies too; one coding at a
time, allowed: {", ".join(ENCODINGS)}. Over gRPC, gzip and deflate. The size limit counts before and after
decompression. Responses are not compressed, which `Accept-Encoding` permits."""
MANNERS = f"""The transformer's gRPC port also serves `grpc.health.v1.Health` (services '', `recommender` and
`inference.GRPCInferenceService`; NOT_SERVING while the server drains or a part is unavailable; at most {MAX_WATCHERS}
calls of `Watch`) and server reflection (`grpc.reflection.v1` and `v1alpha`; at most {MAX_WATCHERS} calls, each of which
ends after {REFLECTION_SECONDS:g} s). A client may ping a connection each {LEAST_PING_SECONDS} s or less often, with
calls or without. The server pings after {KEEPALIVE_SECONDS} s without data. It ends a connection gracefully after
{IDLE_SECONDS // 60} minutes without a call, and after {AGE_SECONDS // 60} minutes in any case: gRPC's clients connect
again by themselves. The explainer has no gRPC port.

`Content-Type` is not read: `curl -d` without it works. There is no CORS: the preflight of a browser on another origin
gets 405, so put a gateway in front that adds the headers, or call from your own server."""
OUTPUTS = f"""By default those of all wanted tasks, without the slate's. K is the largest `{COUNT}` of the call; a
shorter list is padded with -1 or '' and the score -1e9."""
EXPLAINER = f"""`POST /v1/models/recommender:explain`, REST only. The body is
`{{{{"instances": [...], "tasks": [...]}}}}`;
`tasks` may be left out. At most {MAX_INSTANCES} instances a call. An instance is an object with
`{USER_ID}` and, where wanted, {{fields}}; their rules are those above. `targets` says by task which
answer to explain, by an id or a label of its list, such as `{{{{"item": 288}}}}`; else it is the first.

The answer has one entry of `explanations` per instance: the flags, and per task the explained `answer`, its
`history` (`id`, `title`, `contribution`, `at_least`) and its `words` (`part`, `name`, `text`,
`contribution`, `at_least`), the largest contribution first. A contribution is the answer's score less its
score without the part; with `at_least` it is that or more, because the answer fell out of its list. At most
{MAX_PARTS} parts are tried, of a query {MAX_QUERY_GROUPS} groups of words."""
TRITON = f"""Whoever has tensors may call Triton itself: `{RECOMMENDER}` is `{TEXT_ENCODER}` and `{MULTITASK}` in
sequence. It checks no ids and knows no features. At most {MAX_BATCH_SIZE} rows a call; ask for the wanted
outputs by name. Rows count from 1 in the order of the bundle's catalogues, 0 is padding. `{ALLOWED}` is [[true]]
for every row where all items may be listed; else it has W = N + 1 values, true for each row that may be; its bytes
are 0 or 1. B is the batch, T the tokens, D the width of a text vector, N the number of items; `contract.json`
has all sizes."""


def api_reference(scenario: Scenario) -> str:
    """The page for the models of one scenario."""
    sections = [
        f"# Serving API of {scenario.title}",
        HEAD,
        "### Inputs",
        _table(("Name", "Datatype", "Shape", "Meaning"), _inputs(scenario)),
        "### Outputs",
        OUTPUTS,
        _table(("Name", "Datatype", "Shape", "Meaning"), _outputs(scenario)),
        "### Response parameters",
        _table(("Name", "Meaning"), _parameters()),
        "### Statuses",
        _table(("gRPC", "REST", "When"), STATUSES),
        RETRY,
        "### Limits",
        _table(("What", "At most"), _limits(scenario)),
        "### Model versions",
        VERSIONS,
        "### Compression",
        COMPRESSION,
        "### Health, reflection, connections",
        MANNERS,
        "## The explainer",
        EXPLAINER.format(fields=_names(_explained(scenario))),
        "## Triton, with tensors",
        TRITON,
        *_models(scenario),
    ]
    return "\n\n".join(sections) + "\n"


def _inputs(scenario: Scenario) -> Iterable[tuple[str, str, str, str]]:
    lengths = scenario.features
    tasks = ", ".join(f"`{task.name}`" for task in scenario.tasks)
    top = min([task.top_k for task in scenario.tasks if task.catalogue is not None], default=1000)
    meanings = {
        USER_ID: f"Required. Keys of users; B from 1 to {MAX_BATCH_SIZE}. An unknown one is a cold start.",
        QUERY: f"What the user typed, at most {parse.MAX_QUERY_CHARACTERS} characters; '' for nothing.",
        TIMESTAMP: f"The moment in Unix seconds, 0 to {parse.LATEST}, in any time zone; default: now.",
        CONTEXT: f"`name=text` of {_names(lengths.context)}; '' for nothing.",
        RECENT_ITEMS: f"Items since the stored history, oldest first, at most {lengths.history_length}.",
        EXCLUDE_ITEMS: f"Items to leave out, with the recent ones at most {lengths.exclude_length}.",
        DISLIKED_ITEMS: f"Items to leave out, whose like is lowered, at most {lengths.disliked_length}.",
        FILTERS: f"What items must have, at most {MAX_FILTERS}, all of them: {_filters(scenario)}.",
        COUNT: f"Length of the lists, 1 to {top}, also as [1]; default {min(parse.DEFAULT_COUNT, top)}.",
        TASKS: f"The wanted tasks, of {tasks}; default: all. Not together with requested outputs.",
        SLATE: f"Length of the merged list, 1 to {parse.MAX_SLATE}, also as [1]; default: none.",
        TASK_WEIGHTS: f"`task=number` for the slate, 0 to {parse.MAX_WEIGHT:g}; default: the user's own.",
    }
    for name, (datatype, shape) in parse.input_types(scenario).items():
        yield f"`{name}`", datatype, _shape(shape, "n"), meanings[name]


def _outputs(scenario: Scenario) -> Iterable[tuple[str, str, str, str]]:
    owners, types = answer_names(scenario), answer_types(scenario)
    suffixes = {
        "ids": "external ids, best first",
        "titles": "titles of the ids",
        "labels": "classes, best first",
        "scores": "scores in the same order",
        "values": "the predicted number",
    }
    others = {
        COLD_START: "The feature store knows nothing about the user.",
        TRUNCATED: "The text was cut to the model's length.",
        STALE_FEATURES: "A feature was older than its TTL and left out.",
        DEGRADED: "The feature store was unavailable or slow, and the response was made without stored features.",
        SLATE_TASKS: "Slate, if asked for: the task of each entry, best first.",
        SLATE_IDS: "Slate: external ids as text, or labels.",
        SLATE_TITLES: "Slate: titles.",
        SLATE_SCORES: "Slate: priority times relative probability.",
        PRIORITY_TASKS: "Slate: the tasks that were merged.",
        PRIORITY: "Slate: how much each of them counted.",
    }
    for name, (datatype, shape) in types.items():
        task = owners.get(name)
        if task is None:
            yield f"`{name}`", datatype, _shape(shape, "S" if name in SLATE_TYPES else "K"), others[name]
        else:
            what = suffixes[name.removeprefix(f"{task}_")]
            if name == f"{task}_titles" and scenario.task(task).catalogue == USERS and not scenario.text.user_titles:
                what = "empty strings, since the scenario does not set `text.user_titles`"
            yield f"`{name}`", datatype, _shape(shape, "K"), f"{scenario.task(task).title}: {what}."


def _parameters() -> Iterable[tuple[str, str]]:
    yield "`model_version`", "The version of the model that answered."
    yield "`contract_checksum`", "SHA-256 of the contract of its bundle."
    for stage in STAGES:
        yield f"`{stage}_ms`", f"Milliseconds of the stage `{stage}`, as text."


def _limits(scenario: Scenario) -> Iterable[tuple[str, str]]:
    limits = Limits()
    full = f"{MAX_BATCH_SIZE} rows whose inputs are all full take up to {full_request_bytes(scenario, MAX_BATCH_SIZE)}"
    yield "REST body or gRPC message", f"{limits.body_bytes} bytes; `--max_body_bytes`. {full}: split such a batch"
    yield "A key that is a string", f"{limits.key_bytes} bytes of UTF-8; `--max_key_bytes`"
    yield "Elements of `tasks` and `task_weights`", f"{len(scenario.tasks)}, as many as there are tasks, none twice"
    yield "`id` of a request", f"{MAX_ID_BYTES} bytes"
    yield "Inputs, requested outputs, parameters", f"{MAX_INPUTS}, {MAX_OUTPUTS}, {MAX_PARAMETERS}"
    yield "Values in a JSON body", f"{full_request_values(scenario, MAX_BATCH_SIZE)}"
    yield "REST headers of a request", f"{limits.header_bytes} bytes, within {limits.header_seconds:g} s"
    yield "Time until a REST body is complete", f"{limits.body_seconds:g} s"
    yield "Time that a client may leave a REST response unread", f"{limits.write_seconds:g} s"
    yield "REST bodies in flight, of all clients", f"{limits.bodies_bytes} bytes"
    more = (
        "One more closes the connection whose request has been arriving for the longest time, above "
        f"{SILENT_SECONDS:g} s; without such a one, the next {limits.spare_connections} may call the health paths alone"
    )
    yield "REST connections", f"{limits.connections}; `--max_connections`. {more}"
    calls = "`--max_concurrency` and `--max_queue` together"
    yield "gRPC calls, of all connections", f"twice {calls}, and {2 * MAX_WATCHERS}"
    yield (
        "gRPC calls whose message has not arrived",
        f"{calls}, for {Limits().body_seconds:g} s; of more the oldest ends",
    )


def _models(scenario: Scenario) -> Iterable[str]:
    inputs, outputs = multitask_inputs(scenario, -1), multitask_outputs(scenario, -1)
    vector = text_outputs(-1)
    outer = [*text_inputs(), *inputs[1:]]
    for model, read, written in (
        (RECOMMENDER, outer, outputs),
        (TEXT_ENCODER, text_inputs(), vector),
        (MULTITASK, inputs, outputs),
    ):
        yield f"### `{model}`"
        yield _table(("Tensor", "Datatype", "Shape"), [*_specs(read, "in"), *_specs(written, "out")])


def _specs(specs: Sequence[TensorSpec], way: str) -> Iterable[tuple[str, str, str]]:
    for spec in specs:
        letter = {"input_ids": "T", "attention_mask": "T", ALLOWED: "W"}.get(spec.name, "D")
        yield f"`{spec.name}` ({way})", spec.dtype, _shape([-1, *spec.shape], letter)


def _explained(scenario: Scenario) -> list[str]:
    known = parse.input_types(scenario)
    return [name for name in FIELDS if name in known and name != USER_ID]


def _filters(scenario: Scenario) -> str:
    columns = filterable(scenario).items()
    return ", ".join(f"`{n}={'low..high' if c.type in ('integer', 'float') else 'value|value'}`" for n, c in columns)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _shape(shape: Sequence[int], letter: str) -> str:
    if len(shape) == 1:  # about the whole call
        return f"[{letter}]"
    return f"[{', '.join(['B', *(letter if size == -1 else str(size) for size in shape[1:])])}]"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines)
