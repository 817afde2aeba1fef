"""Extreme values for settings, names and files, and the check of the message that they cause."""

from __future__ import annotations

from hypothesis import strategies as st

from fusionzoo import errors

LONG = "n" * 2**20
ODD_TEXT = st.sampled_from(
    ["", " ", "\0", "\ud800", "a\udc80b", LONG, "x" * 300, "é" * 200, "../..", "nan", "{}", "[", "1e999"]
)
NUMBERS = (
    st.sampled_from([0, -1, 2**31, 2**63, 10**30, 10**400, 1e300, -1e300, 1e-300, 5e-324, 0.5])
    | st.integers()
    | st.floats()
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | ODD_TEXT | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_TEXT | st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def check_message(error: errors.ZooError) -> None:
    """Check that the first 1,024 characters hold a fix, and that the text can be written."""
    text = str(error)
    text.encode("utf-8")
    assert "Fix: " in text[:1024]
    assert "[FZ-" in text[:1024]
