"""The counts of an ingest: `report.json` next to the tables."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from polytask.storage.atomic import write_text

REPORT_FILE = "report.json"


class TableReport(BaseModel):
    """Rows of one table before and after validation, the dropped rows by reason, and the table file's SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    sha256: str


class IngestReport(BaseModel):
    """The whole ingest. `moved_ties` counts events that were moved apart because they shared user and time.

    `notes` list the values that the source's adapter had to make up.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: str
    tables: dict[str, TableReport]
    first_event: str
    last_event: str
    moved_ties: int
    notes: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write `report.json` into `folder`."""
        write_text(folder / REPORT_FILE, self.model_dump_json(indent=2) + "\n")


def read_report(folder: Path) -> IngestReport:
    """Read the report that ingest wrote into `folder`."""
    return IngestReport.model_validate_json((folder / REPORT_FILE).read_text(encoding="utf-8"))
