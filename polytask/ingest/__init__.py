"""From a source to clean tables in one folder: read, convert, validate, order, write, report."""

from polytask.ingest.report import IngestReport, TableReport, read_report
from polytask.ingest.run import SOURCES, ingest, ingest_items

__all__ = ["SOURCES", "IngestReport", "TableReport", "ingest", "ingest_items", "read_report"]
