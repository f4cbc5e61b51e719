"""One self-contained HTML page about a run."""

from untrained.report.found import write_report as write_report
