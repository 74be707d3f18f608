"""kfp's local runner without a process per step: of three seconds a step, all but the step's own work are imports.

Everything else is the runner's: the order of the steps, their inputs, artefacts and metadata, the cache.
"""

import json
import traceback
from collections.abc import Sequence
from types import ModuleType

from kfp.dsl.executor import Executor

CODE = '"$program_path/ephemeral_component.py"'


def run_here(full_command: Sequence[str], env_vars: dict[str, str] | None = None) -> int:
    """Run a component's source, as it was compiled, in this process instead of its own; return its exit code."""
    command = list(full_command)
    place = next(number for number, word in enumerate(command) if CODE in word)
    module = ModuleType("ephemeral_component")
    exec(command[place + 1], module.__dict__)
    options = dict(zip(command[place + 2 :: 2], command[place + 3 :: 2], strict=False))
    print("[KFP Executor]: Got executor_input")
    try:
        function = getattr(module, options["--function_to_execute"])
        Executor(json.loads(options["--executor_input"]), function).execute()
    except Exception:  # noqa: BLE001 - as a process ends: with the traceback, and the runner goes by the exit code
        for line in traceback.format_exc().splitlines():
            print(line)
        return 1
    print("[KFP Executor]: Wrote executor output file")
    return 0
