"""Parts of the file that `untrained export --to numpy` writes; they import numpy alone."""
