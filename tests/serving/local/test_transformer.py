"""The wait for a transformer: the error message if it does not become ready."""

from pathlib import Path
from typing import Any

import pytest

from polytask.errors import ServingError
from serving.local.transformer import TransformerProcess


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        (
            "feature store: no response within the deadline of 1 s",
            "; is the online store up that feature_store.yaml names?",
        ),
        ("predictor: connection refused", ""),
    ],
)
def test_a_store_that_is_down_is_named_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, fix: str
):
    process = TransformerProcess(dict, tmp_path / "transformer.log", 9, 1.0)

    def send_request(*words: Any) -> tuple[int, dict[str, str]]:
        return 503, {"error": reason}

    monkeypatch.setattr(process, "_send_request", send_request)
    with pytest.raises(ServingError) as caught:
        process.wait_until_ready(0.05, lambda: None)
    assert f"0.05 s: {reason}{fix} (log: " in str(caught.value)
