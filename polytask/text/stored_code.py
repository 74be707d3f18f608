"""The only code that a feature registry may hold: the source of the on-demand view of the time context.

Feast keeps a transformation in the registry, as source text and as a pickle, and runs that in each process that reads
the registry. Other programs write a registry than read it, so nothing of it is run but what is ours.
"""

import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from polytask.errors import DataError

# It must be self-contained: no closure, imports inside, and only packages that serving has.
_TEMPLATE = """\
def time_context(inputs):
    from polytask.text.time_context import time_contexts

    return dict(time_contexts(inputs["{request_time}"], {timezone!r}))
"""
_OURS = re.compile(
    re.escape(_TEMPLATE)
    .replace(re.escape("{request_time}"), r"[a-z_]{1,64}")
    .replace(re.escape("{timezone!r}"), r"'[A-Za-z0-9_+/-]{1,64}'")
)
ALLOWED = "allowed: the on-demand view time_context, as build_features registers it; nothing of it was run"


def time_context_source(request_time: str, timezone: str) -> str:
    """The source of `time_context`, over the request's field `request_time` (Unix seconds) in an IANA time zone."""
    return _TEMPLATE.format(request_time=request_time, timezone=timezone)


def is_ours(source: str) -> bool:
    """Whether a source text is one that `time_context_source` makes."""
    return _OURS.fullmatch(source) is not None


def run_no_other_code(rehydrate: ModuleType, dill: ModuleType) -> None:
    """Make Feast refuse all code of a registry that is not ours, by DataError, in this process from now on.

    Args:
        rehydrate: `feast.transformation.udf_rehydrate`, by which transformations are read from source text.
        dill: The module `dill`, by which Feast reads everything else.
    """
    if getattr(rehydrate.rehydrate_udf_from_source, "checks", False):
        return
    run: Callable[..., Any] = rehydrate.rehydrate_udf_from_source
    loads: Callable[..., Any] = dill.loads

    def checked_source(udf_string: str, *, preferred_name: str | None = None) -> Any:
        if not is_ours(udf_string or ""):
            shown = (udf_string or "").strip().splitlines()[:1] or ["a pickle without source text"]
            raise DataError(f"feature registry: holds foreign code of a view, {shown[0][:80]!r}; {ALLOWED}")
        return run(udf_string, preferred_name=preferred_name)

    def checked_loads(*arguments: Any, **options: Any) -> Any:
        reader = sys._getframe(1).f_globals.get("__name__", "")
        # Below feast.infra, engines read what this process itself has pickled for its workers.
        if reader.startswith("feast.") and not reader.startswith("feast.infra."):
            raise DataError(f"feature registry: holds a pickle, read by {reader}; {ALLOWED}")
        return loads(*arguments, **options)

    checked_source.checks = True  # type: ignore[attr-defined]
    rehydrate.rehydrate_udf_from_source = checked_source  # type: ignore[attr-defined]
    dill.loads = checked_loads  # type: ignore[attr-defined]
