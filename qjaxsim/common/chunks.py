"""Lengths of chunks."""


def even_chunk(count: int, most: int) -> int:
    """The length of equal chunks that cover `count` things, at most `most` a chunk, with the least overlap.

    >>> even_chunk(1438, 1000)  # two of 719, where two of 1000 would do a third of the work twice
    719
    """
    return -(-count // -(-count // most))
