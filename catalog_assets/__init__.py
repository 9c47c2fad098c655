"""WHAT exists: one thin file per stage, its checks beside it."""
