"""What logs, errors and previews show in place of a value of a personal column (`Scenario.personal_columns`)."""

HIDDEN = "(hidden)"
