"""Self-contained HTML page about a run."""

from untrained.report.run_page import write_report as write_report
