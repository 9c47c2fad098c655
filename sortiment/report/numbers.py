"""Numbers as a person reads them. Every function gives an en dash for None: nothing was measured."""

ABSENT = "–"


def count_text(value: float | None) -> str:
    """12,345"""
    return ABSENT if value is None else f"{value:,.0f}"


def score_text(value: float | None) -> str:
    """0.851"""
    return ABSENT if value is None else f"{value:.3f}"


def gap_text(value: float | None) -> str:
    """+0.004 or −0.012, with a true minus sign"""
    if value is None:
        return ABSENT
    text = f"{value:+.3f}"
    return "±0.000" if text in ("+0.000", "-0.000") else text.replace("-", "−")


def share_text(value: float | None) -> str:
    """92.4%"""
    return ABSENT if value is None else f"{value:.1%}".replace("-", "−")


def number_text(value: float | None) -> str:
    """A number of any size, in at most four significant digits: 0.0412, 3.25, 1,910"""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def size_text(megabytes: float | None) -> str:
    """145 MB or 1.4 GB"""
    if megabytes is None:
        return ABSENT
    if megabytes >= 1000:
        return f"{megabytes / 1000:.1f} GB"
    return f"{megabytes:.0f} MB" if megabytes >= 10 else f"{megabytes:.1f} MB"


def duration_text(seconds: float | None) -> str:
    """8.1 s, 4 min 41 s or 2 h 5 min"""
    if seconds is None:
        return ABSENT
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
