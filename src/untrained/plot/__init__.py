"""Pictures as matplotlib figures: `pip install untrained[plot]`; without matplotlib they raise ImportError."""

from untrained.plot.comparison import comparison as comparison
from untrained.plot.figure import available as available
from untrained.plot.figure import save as save
from untrained.plot.frontier import frontier as frontier
from untrained.plot.network import filters as filters
from untrained.plot.network import overview as overview
from untrained.plot.network import subnetwork as subnetwork
from untrained.plot.run import confusion as confusion
from untrained.plot.run import curves as curves
from untrained.plot.run import layers as layers
from untrained.plot.run import mistakes as mistakes
from untrained.plot.run import scores as scores
from untrained.plot.sweep import sweep as sweep
