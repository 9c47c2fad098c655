"""The report: `report.json`, one `report.html` that opens offline, a table on the terminal, and every figure.

`schema` says what a report holds, `figures` what can be drawn, `html` renders the page, `terminal` the table.
"""

from sortiment.report.files import read_report, write_report
from sortiment.report.schema import ModelScores, Report, parse_report

__all__ = ["ModelScores", "Report", "parse_report", "read_report", "write_report"]
