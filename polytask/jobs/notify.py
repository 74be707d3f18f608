"""The outcome of a pipeline's run as text, and where it is reported."""

import os

REPORT_URL = "POLYTASK_REPORT_URL"
SECONDS = 10.0
_WORDS = {"SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELLED": "was cancelled"}


def outcome_line(pipeline: str, scenario: str, state: str, error: str | None = None) -> str:
    """One line such as `train-and-deploy of movielens failed: ...`."""
    words = _WORDS.get(state, f"ended as {state}")
    return f"{pipeline} of {scenario} {words}" + (f": {error}" if error else "")


def outcome_page(line: str, run: str) -> str:
    """The same as Markdown, with the run's name."""
    return f"**{line}**\n\nrun: `{run}`\n"


def send_outcome(line: str) -> str | None:
    """Post the line as `{"text": ...}`, which chat programs take, to the address in `POLYTASK_REPORT_URL`.

    Returns what came of it, without the address, which may hold a secret; None where there is no address. Raises
    nothing that a server or a network does: a report that is not heard must not change the outcome.
    """
    address = os.environ.get(REPORT_URL)
    if not address:
        return None
    import httpx

    try:
        response = httpx.post(address, json={"text": line}, timeout=SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"the report was not sent: {type(error).__name__}"
    if response.is_error:
        return f"the report was not taken: {response.status_code}"
    return "the report was sent"
