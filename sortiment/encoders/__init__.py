"""Encoders: what a reference names, how offers are written for it, and their embeddings, computed once.

Importing this is cheap: torch and transformers are imported when an encoder is first used.
"""

from sortiment.encoders.inputs import offer_texts
from sortiment.encoders.references import EncoderFolder, resolve_encoder

__all__ = ["EncoderFolder", "offer_texts", "resolve_encoder"]
