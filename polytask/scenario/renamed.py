"""Fields and values of scenario files that have a new name, so that the error of an old file names it."""

from collections.abc import Sequence

# Old path -> new path; `*` stands for a name or a position.
FIELDS = {
    "validation": "data_validation",
    "features.seen_length": "features.exclude_length",
    "features.negative_length": "features.disliked_length",
    "model.negative_strength": "model.disliked_strength",
    "training.windows_per_batch": "training.batch_size",
    "training.query_share": "training.query_probability",
    "training.weighting": "training.loss_weighting",
    "tasks.*.gate": "tasks.*.baseline_gate",
    "resources.*.hours": "resources.*.timeout_hours",
}
# Path -> old value -> new value.
VALUES = {
    "split.kind": {"shares": "user_holdout", "last_events": "leave_one_out"},
}


def new_field(path: Sequence[int | str]) -> str | None:
    """Return the new path of an old field, `None` if the field never existed.

    Args:
        path: Field names and positions, as in `loc` of an error of pydantic. The path of a task file starts at the
            task, so that `gate` alone is `tasks.*.gate`.
    """
    parts = [str(part) for part in path]
    for old, new in FIELDS.items():
        for pattern, renamed in ((old.split("."), new.split(".")), (old.split(".")[2:], new.split(".")[2:])):
            if pattern and len(pattern) == len(parts):
                pairs = list(zip(pattern, parts, strict=True))
                if all(wanted in ("*", found) for wanted, found in pairs):
                    return ".".join(part if name == "*" else name for name, part in zip(renamed, parts, strict=True))
    return None


def new_value(path: Sequence[int | str], value: object) -> str | None:
    """Return the new name of an old value of a field, `None` if the value was never allowed."""
    return VALUES.get(".".join(str(part) for part in path), {}).get(str(value))
