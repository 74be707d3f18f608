"""Which rows are bad, and why: pandera checks built from the scenario, each bad row under its first reason."""

import warnings
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from string import Formatter
from typing import Any, NamedTuple

import pandas as pd

from polytask.errors import DataError, ScenarioError
from polytask.ingest.conversion import NOUNS, convert, tighten
from polytask.scenario.names import HIDDEN, INTERACTIONS
from polytask.scenario.schema import Column, Scenario, Table

FIRST_ROWS = 3
Reasons = dict[str, int]


class BadRowsError(DataError):
    """More rows of a table are bad than the scenario allows. `rejected` has them, personal columns too."""

    def __init__(self, message: str, table: str, rejected: pd.DataFrame) -> None:
        super().__init__(message)
        self.table = table
        self.rejected = rejected


class CheckedRows(NamedTuple):
    """The good rows of a table, its bad rows by reason, and the bad rows themselves, see `RowChecker.rejected`."""

    good: pd.DataFrame
    reasons: Reasons
    rejected: pd.DataFrame


class RowChecker:
    """Collects the bad rows of one table and takes them out."""

    def __init__(self, name: str, raw: pd.DataFrame, kinds: Mapping[str, str], personal: Collection[str] = ()) -> None:
        """`raw` has the rows' positions in the source as index, `kinds` the column type or `timestamp` of each column.

        Values of `personal` columns are in no error.
        Raises DataError for a missing column or an empty table.
        """
        missing = [column for column in kinds if column not in raw.columns]
        if missing:
            there = ", ".join(map(str, raw.columns))
            raise DataError(f"{name}: no column {', '.join(map(repr, missing))}; the table has: {there}")
        if raw.empty:
            raise DataError(f"{name}: the table has no rows")
        self.name = name
        self.hint = ""  # what to do when rows are bad, where one thing is likely
        self.raw = raw
        self._personal = frozenset(personal)
        self.table = pd.DataFrame(index=self.raw.index)
        self._reason = pd.Series(pd.NA, index=self.raw.index, dtype="string")
        self._order: list[str] = []
        for column, kind in kinds.items():
            self.table[column], unfit = convert(self.raw[column], kind)
            self.mark(f"{column}: not {NOUNS[kind]}", unfit[unfit].index)

    def mark(self, reason: str, rows: Iterable[Any]) -> None:
        """Note a reason for rows (index labels) that have none yet."""
        fresh = self._reason.loc[list(rows)]
        fresh = fresh[fresh.isna()]
        if len(fresh):
            self._reason.loc[fresh.index] = reason
            self._order.append(reason)

    def check(self, schema: Any) -> None:
        """Run a pandera schema over the rows that are still good."""
        from pandera.errors import SchemaErrors

        try:
            with warnings.catch_warnings():
                # pandera's own: how it puts its failures together.
                warnings.filterwarnings("ignore", message="The behavior of DataFrame concat", category=FutureWarning)
                schema.validate(self.table[self._reason.isna()], lazy=True)
        except SchemaErrors as error:
            cases = error.failure_cases
            unplaced = cases[cases["index"].isna()]
            if len(unplaced):  # a check that names no row must not pass for "no bad row"
                raise DataError(f"{self.name}: {unplaced.iloc[0]['column']}: {unplaced.iloc[0]['check']}") from error
            for (context, column, check), found in cases.groupby(["schema_context", "column", "check"], sort=False):
                reason = _WORDS.get(check, check)
                # A check of whole rows reports every column of the row.
                self.mark(f"{column}: {reason}" if context == "Column" else reason, found["index"].unique())

    def good(self, columns: Mapping[str, Column], max_bad_share: float) -> CheckedRows:
        """The good rows, source positions as index, and the bad rows by reason.

        Raises BadRowsError when the bad rows are more than `max_bad_share` of the table, or all of it.
        """
        bad = self._reason.notna()
        counts = self._reason.value_counts()
        reasons = {reason: int(counts[reason]) for reason in self._order}
        if bad.sum() > max_bad_share * len(self.raw) or bad.all():
            shown = "; ".join(f"{reason} ({count} rows)" for reason, count in reasons.items())
            first = "; ".join(f"row {row}: {record}" for row, record in self._first(bad))
            raise BadRowsError(
                f"{self.name}: {int(bad.sum())} of {len(self.raw)} rows are bad, `data_validation.max_bad_share` "
                f"allows {max_bad_share:g}: {shown}.{self.hint} First rows: {first}{self._whole_rows()}",
                self.name,
                self.rejected(),
            )
        table = self.table[~bad].copy()
        for column, spec in columns.items():
            table[column] = tighten(table[column], spec)
        return CheckedRows(table, reasons, self.rejected())

    def rejected(self) -> pd.DataFrame:
        """The bad rows as the source has them, personal columns too: `row`, `reason`, and all columns of the table."""
        bad = self._reason.notna()
        rows = self.raw[bad].copy()
        rows.insert(0, "reason", self._reason[bad].astype(str), allow_duplicates=True)
        rows.insert(0, "row", rows.index, allow_duplicates=True)
        return rows

    def _whole_rows(self) -> str:
        if not self._personal & set(self.table.columns):
            return ""
        return f". {HIDDEN}: personal columns; polytask check --rejected FOLDER writes whole rows"

    def _first(self, bad: pd.Series) -> list[tuple[Any, dict[Any, Any]]]:
        columns = [column for column in self.raw.columns if column in self.table.columns]
        rows = self.raw.loc[bad[bad].index[:FIRST_ROWS], columns]
        hidden = dict.fromkeys(self._personal & set(columns), HIDDEN)
        return [(row, {**record.to_dict(), **hidden}) for row, record in rows.iterrows()]


def check_entities(scenario: Scenario, name: str, entity: Table, raw: pd.DataFrame) -> CheckedRows:
    """The good rows of `users` or `items`, in file order: types, missing values, bounds, empty text, doubled keys."""
    import pandera.pandas as pa

    columns = {entity.key: Column(type=entity.key_type), **entity.columns}
    texts = _text_columns(entity, scenario.text.item if entity is scenario.entities.items else None)
    personal = scenario.personal_columns(name)
    checker = RowChecker(name, raw, {column: spec.type for column, spec in columns.items()}, personal)
    if entity.key_type == "integer" and convert(raw[entity.key], "integer")[0].isna().all():
        checker.hint = f" Keys that are texts need `key_type: string` in entities.{name}."
    checker.check(pa.DataFrameSchema({c: _column_schema(spec, c in texts) for c, spec in columns.items()}))
    # After the other checks, so that a broken first row does not take a sound second one with it.
    checker.check(pa.DataFrameSchema({entity.key: pa.Column(unique=True, report_duplicates="exclude_first")}))
    return checker.good(columns, scenario.data_validation.max_bad_share)


def check_interactions(
    scenario: Scenario, raw: pd.DataFrame, keys: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]
) -> CheckedRows:
    """The good rows of `interactions`, in file order: as above, and references, possible times, doubled rows.

    `keys`: key column -> (raw table, good table) of the entity; a reference to a row that was dropped there has a
    reason of its own.
    """
    import pandera.pandas as pa

    entities, timestamp = scenario.entities, scenario.entities.interactions.timestamp
    referred = [entities.users, *([] if entities.items is None else [entities.items])]
    columns = {table.key: Column(type=table.key_type) for table in referred}
    columns |= entities.interactions.columns
    kinds: dict[str, str] = {column: spec.type for column, spec in columns.items()}
    personal = scenario.personal_columns(INTERACTIONS)
    checker = RowChecker(INTERACTIONS, raw, {**kinds, timestamp: "timestamp"}, personal)
    schemas = {column: _column_schema(spec, False) for column, spec in columns.items()}
    checker.check(pa.DataFrameSchema({**schemas, timestamp: _time_schema(scenario)}))
    for entity in referred:
        before, after = keys[entity.key]
        known, _ = convert(before[entity.key], entity.key_type)
        checker.check(pa.DataFrameSchema({entity.key: pa.Column(checks=_is_in(known, "not a known key"))}))
        dropped = _is_in(after[entity.key], "its row was dropped")
        checker.check(pa.DataFrameSchema({entity.key: pa.Column(checks=dropped)}))
    lists = {column for column, kind in kinds.items() if kind == "string_list"}
    checker.check(
        pa.DataFrameSchema(checks=pa.Check(lambda t: ~_doubled(t, lists), error="doubled row", ignore_na=False))
    )
    return checker.good(columns, scenario.data_validation.max_bad_share)


# pandera's own words for its built-in checks, in ours.
_WORDS = {"not_nullable": "missing", "field_uniqueness": "doubled key"}


def _column_schema(column: Column, needs_text: bool) -> Any:
    import pandera.pandas as pa

    checks = []
    if column.min is not None:
        checks.append(pa.Check.ge(column.min, error=f"below {column.min:g}"))
    if column.max is not None:
        checks.append(pa.Check.le(column.max, error=f"above {column.max:g}"))
    if needs_text:
        checks.append(pa.Check(lambda values: values.str.len() > 0, error="empty text"))
    return pa.Column(checks=checks, nullable=column.nullable)


def _time_schema(scenario: Scenario) -> Any:
    """Check that no event is before `data_validation.earliest`, or after `latest`, which is now by default."""
    import pandera.pandas as pa

    earliest = _moment("earliest", scenario.data_validation.earliest)
    latest = _moment("latest", scenario.data_validation.latest or datetime.now(UTC).isoformat(timespec="seconds"))
    checks = [
        pa.Check.ge(earliest, error=f"before {earliest.isoformat()}"),
        pa.Check.le(
            latest, error=f"after {latest.isoformat()}" if scenario.data_validation.latest else "in the future"
        ),
    ]
    return pa.Column(checks=checks)


def _moment(field: str, text: str) -> pd.Timestamp:
    try:
        moment = pd.Timestamp(text)
    except ValueError as error:
        raise ScenarioError(f"data_validation.{field}: invalid value {text!r}; expected an ISO 8601 time") from error
    return moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")


def _text_columns(entity: Table, template: str | None) -> set[str]:
    """Columns of type `string` that a template is made of."""
    used = {field for _, field, _, _ in Formatter().parse(template or "") if field}
    return {column for column in used if entity.columns[column].type == "string"}


def _is_in(known: pd.Series, words: str) -> Any:
    import pandera.pandas as pa

    # isin() on the table of keys: pandera's own isin writes every allowed value into its message.
    return pa.Check(lambda values: values.isin(known), error=words)


def _doubled(table: pd.DataFrame, lists: set[str]) -> pd.Series:
    plain = table.assign(**{column: table[column].map(tuple, na_action="ignore") for column in lists})
    return plain.duplicated(keep="first")
