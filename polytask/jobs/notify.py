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
    """Post one line as `{"text": ...}`, which chat programs accept, to the address in `POLYTASK_REPORT_URL`.

    No error of a server or network is raised: a report that cannot be delivered must not change the outcome.

    Args:
        line: The line.

    Returns:
        The result, without the address, which may hold a secret; None where no address is set.
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
