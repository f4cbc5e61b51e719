"""Text, tables and progress bars on a terminal or in a notebook."""
