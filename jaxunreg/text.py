"""Numbers and names for people to read."""


def rounded(number: float) -> str:
    """A score or a loss as text: with one decimal from 100 on, and with four significant digits below.

    >>> rounded(-10713.26), rounded(200.0), rounded(0.081234)
    ('-10713.3', '200', '0.08123')
    """
    return f"{number:.1f}".removesuffix(".0") if abs(number) >= 100 else f"{number:.4g}"


def printable(name: str) -> str:
    r"""A file name that can be written as UTF-8. Bytes that are not UTF-8 become escapes.

    >>> printable("caf\udce9.png")
    'caf\\udce9.png'
    """
    return name.encode(errors="backslashreplace").decode()
