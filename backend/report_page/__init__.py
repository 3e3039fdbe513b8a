"""`captionloop report`: a version's report as one HTML file that needs nothing else, or as text."""

from captionloop.backend.report_page.kept import kept_report
from captionloop.backend.report_page.page import comparison_html, report_html, training_html
from captionloop.backend.report_page.summary import report_text

__all__ = ["comparison_html", "kept_report", "report_html", "report_text", "training_html"]
