"""What an encoder wants to read in front of a text.

E5 was trained with `query: `, its instruction-tuned variants with a task description; other encoders with nothing.
A market may replace the prompt, for all offers or per country.
Sources: the model cards of intfloat/multilingual-e5-small and intfloat/multilingual-e5-large-instruct.
"""

import re
from collections.abc import Mapping, Sequence

from sortiment.settings import EncoderSettings

PLAIN = "plain"
E5 = "e5"
E5_INSTRUCT = "e5-instruct"
FAMILIES = (PLAIN, E5, E5_INSTRUCT)


def family_of(name: str) -> str:
    """The prompt family that a model's name gives away; plain where it gives away nothing."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    if "e5" not in words:
        return PLAIN
    return E5_INSTRUCT if "instruct" in words else E5


def prompt_of(family: str, settings: EncoderSettings, country: str | None = None) -> str:
    """The text in front of an offer's text, for one country's offers."""
    replaced: Mapping[str, str] = settings.prompts
    if country is not None and country in replaced:
        return replaced[country]
    if settings.prompt is not None:
        return settings.prompt
    if family == E5:
        return "query: "
    if family == E5_INSTRUCT:
        return f"Instruct: {settings.instruction}\nQuery: "
    return ""


def prompted(
    texts: Sequence[str], family: str, settings: EncoderSettings, countries: Sequence[str] | None = None
) -> list[str]:
    """Each text with its prompt in front. `countries`: one per text."""
    if countries is None:
        prompt = prompt_of(family, settings)
        return [prompt + text for text in texts]
    prompts = {country: prompt_of(family, settings, country) for country in set(countries)}
    return [prompts[country] + text for text, country in zip(texts, countries, strict=True)]
