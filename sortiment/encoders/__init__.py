"""Encoders: what a reference names, how offers are written for it, and their embeddings, computed once.

Importing this is cheap: torch and transformers are imported when an encoder is first used.
"""

from sortiment.encoders.embedding import Embedder, embed
from sortiment.encoders.feature_cache import FeatureCache
from sortiment.encoders.inputs import offer_texts
from sortiment.encoders.prompts import prompted
from sortiment.encoders.references import EncoderFolder, resolve_encoder
from sortiment.encoders.runners import load_body
from sortiment.encoders.vocabulary import TrimReport, trim_vocabulary

__all__ = [
    "Embedder",
    "EncoderFolder",
    "FeatureCache",
    "TrimReport",
    "embed",
    "load_body",
    "offer_texts",
    "prompted",
    "resolve_encoder",
    "trim_vocabulary",
]
