"""The folder of an evolution: settings, report and pictures."""
