"""Write the made-up tables of a scenario as CSV files, as a user would bring them; the command `sample-data`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from polytask.data.tables import Tables
from polytask.errors import ScenarioError
from polytask.progress import is_quiet
from polytask.samples.ecommerce import ecommerce
from polytask.samples.online_education import online_education
from polytask.samples.smart_city import smart_city
from polytask.samples.social_media import social_media
from polytask.scenario import load_scenario
from polytask.storage.atomic import write_text

SAMPLES: dict[str, Callable[[np.random.Generator], Tables]] = {
    "ecommerce": ecommerce,
    "online_education": online_education,
    "smart_city": smart_city,
    "social_media": social_media,
}
SEED = 7


def write_sample(name: str, folder: Path, seed: int = SEED) -> Tables:
    """Write `users.csv`, `items.csv` and `interactions.csv` of a sample to `folder`; returns the tables.

    Raises ScenarioError for a name that is not in `SAMPLES`.
    """
    if name not in SAMPLES:
        raise ScenarioError(f"no sample data for {name!r}; allowed: {', '.join(SAMPLES)}")
    tables = SAMPLES[name](np.random.default_rng(seed))
    for table, rows in tables.named().items():
        write_text(folder / f"{table}.csv", rows.apply(_cells).to_csv(index=False, lineterminator="\n"))
    return tables


def sample_data(
    name: Annotated[str, typer.Argument(help=f"Which scenario: {', '.join(SAMPLES)}.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the tables; default: the `source.path` of scenarios/<name>.yaml.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other people with other tastes.")] = SEED,
) -> None:
    """Write small made-up tables, so that a scenario of the guides runs before there is data of one's own.

    Examples:
      polytask sample-data smart_city
      polytask sample-data ecommerce --output tables --seed 3
    """
    if name not in SAMPLES:
        raise ScenarioError(f"no sample data for {name!r}; allowed: {', '.join(SAMPLES)}")
    folder = output or Path(str(load_scenario(name).source.path))
    tables = write_sample(name, folder, seed)
    for table, rows in tables.named().items():
        typer.echo(f"{folder / table}.csv: {len(rows)} rows")
    if not is_quiet():
        typer.echo(f"Next: make demo SCENARIO={name}")


def _cells(column: pd.Series) -> pd.Series:
    """Lists as `a|b`, times in ISO 8601."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.map(pd.Timestamp.isoformat)
    return column.map(lambda value: "|".join(value) if isinstance(value, list) else value)
