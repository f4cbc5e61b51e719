"""The training loop: epochs, evaluation, checkpoints and the trace of a run."""
