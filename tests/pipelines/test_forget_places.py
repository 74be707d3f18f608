"""What `polytask forget` finds in single places, and what it reports of them."""

from pathlib import Path

import pandas as pd

from polytask.ingest.rejected import write_rejected
from polytask.ingest.run import clean, read_source
from polytask.scenario import load_scenario
from polytask.scenario.data import Validation
from tests.pipelines.forgotten_workspace import OTHER, run


def test_a_user_of_rejected_rows_alone_is_found(place: Path) -> None:
    """Ingest drops the row of users.csv, whose age is above 120, and all events of the user."""
    scenario = load_scenario(place / "data" / "small.yaml")
    raw = read_source(scenario).tables
    users = raw.users[raw.users["user_id"] == str(OTHER)].assign(user_id="31337", age="999")
    scenario = scenario.model_copy(update={"validation": Validation(max_bad_share=0.5)})
    rejected = clean(scenario, raw._replace(users=pd.concat([raw.users, users], ignore_index=True))).rejected
    folder = place / "workspace" / "small" / "pipeline" / "run" / "ingest" / "tables" / "rejected"
    (path,) = write_rejected(rejected, folder)
    assert "31337" in path.read_text(encoding="utf-8")
    assert "pipeline runs" in run(place, user=31337)
    assert not path.exists()
