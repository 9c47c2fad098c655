"""The embedded default: a seeded synthetic market, so that the whole platform runs on a machine that has no offers.

Six countries, five languages, sixteen departments. Every word, brand, shop and offer is made up, and says so
(`synthetic-shop-de-001`, `synthetic: true`). The truth is kept beside it, so that every claim made about a model can be
checked. `inject_drift` changes real offers instead, and calls that what it is: an injected drift.
"""

from sortiment.market.day import SCENARIOS, Scenario
from sortiment.market.generate import MarketReport, draw_second_day, generate_market, generate_second_day
from sortiment.market.injection import INJECTED_SCENARIOS, InjectedDrift, inject_drift, write_drifted_feed
from sortiment.market.vocabulary import LANGUAGE_OF, LANGUAGES, Vocabulary, load_vocabulary

__all__ = [
    "INJECTED_SCENARIOS",
    "LANGUAGES",
    "LANGUAGE_OF",
    "SCENARIOS",
    "InjectedDrift",
    "MarketReport",
    "Scenario",
    "Vocabulary",
    "draw_second_day",
    "generate_market",
    "generate_second_day",
    "inject_drift",
    "load_vocabulary",
    "write_drifted_feed",
]
