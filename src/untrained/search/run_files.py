"""Names of the files and folders of a run, for all code that reads or writes them."""

# A search, by `find` or `fit(out=…)`.
CONFIG, CHECKPOINT, METRICS, TRACE = "config.toml", "checkpoint.pt", "metrics.jsonl", "trace.jsonl"
FILM, MACHINE = "film.jsonl", "machine.jsonl"
TICKET, ANSWERS, RESULTS = "found.ticket", "answers.safetensors", "results.json"
COMPRESSED = "trained.opponent"  # instead of a ticket: the file of a trained opponent
PICTURE, REPORT, PAGE = "picture.png", "report.html", "found.html"
TWIN_FOLDER = "twin"  # a folder with the files of the trained twin
# A comparison or a sweep: a folder with a file and a folder for each network, all networks, and the table of means.
CELLS, TABLE, SUMMARY = "cells", "results.csv", "summary.csv"
PART = "cell-{}-of-{}"  # a part of that which another process searches, in a folder of its own
# A search for weight agnostic networks.
WANN_CHECKPOINT, FOUND, TUNED, FRONT = "checkpoint.npz", "found.json", "tuned.json", "front"
