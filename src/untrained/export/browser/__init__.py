"""A ticket as one HTML page that runs the network."""
