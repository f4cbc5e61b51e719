"""Tables of the pages, in Markdown."""


def table(titles: list[str], rows: list[list[str]]) -> str:
    """Return a table whose first column is text and whose others are numbers."""
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
