"""Step 1: the source's tables, validated."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(
    scenario: str,
    code_version: str,
    tables: dsl.Output[dsl.Dataset],
    statistics: dsl.Output[dsl.Markdown],
) -> None:
    """Read, validate, clean and order users, items and interactions.

    Args:
        scenario: Name of a scenario in the image, or path of a scenario file.
        code_version: Changes when the code or the scenario does, so that a cached step is used only where it is valid.
        tables: Folder with users.parquet, items.parquet (if any), interactions.parquet and report.json.
        statistics: How much, how dense, how new the data are and what is missing, as the user interface shows it.
    """
    from pathlib import Path

    from polytask.ingest import ingest as run
    from polytask.ingest.statistics import dataset_statistics
    from polytask.registry.lineage import lineage_of
    from polytask.scenario import load_scenario
    from polytask.storage.atomic import write_text

    loaded = load_scenario(scenario)
    report = run(loaded, Path(tables.path))
    found = dataset_statistics(loaded, Path(tables.path))
    write_text(Path(statistics.path), found.markdown(loaded.title))
    tables.metadata.update(found.metadata())
    tables.metadata["lineage"] = lineage_of(loaded, Path(tables.path))
    for name, table in report.tables.items():
        print(f"{name}: {table.rows_out} of {table.rows_in} rows kept")
        tables.metadata[f"{name}_sha256"] = table.sha256
        for reason, count in table.dropped.items():
            print(f"{name}: {count} rows dropped: {reason}")
    for note in report.notes:
        print(f"note: {note}")
