"""The platform in one object (built below)."""
