"""The search for an architecture: genomes, ranking, populations."""
