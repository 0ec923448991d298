"""Numbers and names for people to read."""

import unicodedata

_TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def rounded(number: float) -> str:
    """Return a score or a loss as text: with one decimal from 100 on, and with four significant digits below.

    >>> rounded(-10713.26), rounded(200.0), rounded(0.081234)
    ('-10713.3', '200', '0.08123')
    """
    return f"{number:.1f}".removesuffix(".0") if abs(number) >= 100 else f"{number:.4g}"


def printable(name: str) -> str:
    r"""Return a name that is harmless in a terminal, a log or a table, and can be written as UTF-8.

    Control characters, ends of lines, signs that turn the direction of text, and bytes that are not UTF-8 become
    escapes.

    >>> print(printable("caf\udce9\x1b[31m\n.png"), printable("caf\u00e9.png"))
    caf\udce9\x1b[31m\n.png café.png
    """
    return "".join(ascii(letter)[1:-1] if _acts(letter) else letter for letter in name)


def is_utf8(name: str) -> bool:
    r"""Return whether a name can be written as UTF-8.

    >>> is_utf8("caf\u00e9.png"), is_utf8("caf\udce9.png")
    (True, False)
    """
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _acts(letter: str) -> bool:
    # Cc: control; Cs: surrogate; Zl and Zp: ends of lines and paragraphs.
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(letter) in _TURNS
