"""Many tasks on one frozen network: a mask each, swapped in place, and inferred where the task is not given."""
