"""Step 7: only a candidate that passed goes on."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(verdict: dsl.Input[dsl.Artifact]) -> None:
    """Fail, with the verdict as the last line, where the candidate was refused.

    Args:
        verdict: What `compare` wrote.
    """
    import json
    from pathlib import Path

    from polytask.evaluation.gate import GateError, verdict_of

    found = verdict_of(json.loads(Path(verdict.path).read_text(encoding="utf-8")))
    if not found.passed:
        raise GateError(found.line())
    print(found.line())
