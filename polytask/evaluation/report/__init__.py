"""The report: one HTML file that needs nothing else, made from the content of metrics.json alone."""

from polytask.evaluation.report.page import render_report

__all__ = ["render_report"]
