"""Personal data: where it is stored, who was forgotten, and how a user's rows are taken out of files."""
