"""Names of tables and columns that every scenario has."""

USERS = "users"
ITEMS = "items"
INTERACTIONS = "interactions"
# The column that ingest adds to the interactions: the position of the event in the source file.
EVENT_ID = "event_id"
# The context features of a request's time; `polytask.text.time_context` computes them.
CONTEXT_WORDS = ("daypart", "weekpart")
# Replaces the value of a personal column (`Scenario.personal_columns`) in logs, errors and previews.
HIDDEN = "(hidden)"
