"""Step 1: the source's tables, validated."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(scenario: str, code_version: str, tables: dsl.Output[dsl.Dataset]) -> None:
    """Read, validate, clean and order users, items and interactions.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        code_version: Changes when the code or the scenario does, so that a cached step is used only where it is valid.
        tables: Folder with users.parquet, items.parquet (if any), interactions.parquet and report.json.
    """
    from pathlib import Path

    from polytask.ingest import ingest as run
    from polytask.scenario import load_scenario

    report = run(load_scenario(scenario), Path(tables.path))
    for name, table in report.tables.items():
        print(f"{name}: {table.rows_out} of {table.rows_in} rows kept")
        tables.metadata[f"{name}_rows"] = table.rows_out
        tables.metadata[f"{name}_sha256"] = table.sha256
        for reason, count in table.dropped.items():
            print(f"{name}: {count} rows dropped: {reason}")
    for note in report.notes:
        print(f"note: {note}")
