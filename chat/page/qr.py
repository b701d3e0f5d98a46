"""A QR code as a drawing that a template makes: no picture leaves this machine."""

from typing import NamedTuple

MARGIN = 4  # as the standard asks; templates/_qr.html begins there


class Drawing(NamedTuple):
    """`path` fills the dark modules, each one unit wide; with its margin it is `side` units wide."""

    side: int
    path: str


def drawn(text: str) -> Drawing:
    # Here, as it costs 4 MB that most installations never need.
    import segno

    rows = segno.make_qr(text, error="m").matrix
    dark = [(x, y) for y, row in enumerate(rows) for x, is_dark in enumerate(row) if is_dark]
    return Drawing(len(rows) + 2 * MARGIN, "".join(f"M{x} {y}h1v1h-1z" for x, y in dark))
