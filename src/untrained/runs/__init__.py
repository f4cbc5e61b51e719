"""The folder of a run as data: settings, metrics, results and tables."""
