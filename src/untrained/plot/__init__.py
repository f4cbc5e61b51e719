"""Pictures as matplotlib figures, for those who have it: `pip install untrained[plot]`."""

from untrained.plot.comparison import comparison as comparison
from untrained.plot.figure import available as available
from untrained.plot.figure import save as save
from untrained.plot.search import search as search
