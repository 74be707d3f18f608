"""How results are shown: tables in Markdown, the style sheet of all pages."""
