"""What `polytask forget` prints on a terminal that is narrower than its paths."""

import io

from rich.console import Console

from pipelines.commands.forget import _show
from pipelines.forgetting.target import Finding


def test_a_path_is_neither_cut_nor_folded_on_a_narrow_terminal():
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=True, width=40, no_color=True)
    where = "/elsewhere/" + "a_long_folder/" * 12 + "users.parquet"
    _show(console, [Finding("users table", where, "rows removed")], dry_run=False)
    lines = [line.split() for line in printed.getvalue().splitlines()]
    assert ["users", "table", where, "rows", "removed"] in lines
