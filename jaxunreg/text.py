"""Numbers and names for people to read."""


def rounded(number: float) -> str:
    """A score or a loss: one decimal, or four digits where that would show too few.

    >>> rounded(-10713.26), rounded(200.0), rounded(0.081234)
    ('-10713.3', '200', '0.08123')
    """
    return f"{number:.1f}".removesuffix(".0") if abs(number) >= 100 else f"{number:.4g}"


def printable(name: str) -> str:
    r"""A name of a file that can be written as UTF-8: bytes that are none of it become escapes.

    >>> printable("caf\udce9.png")
    'caf\\udce9.png'
    """
    return name.encode(errors="backslashreplace").decode()
