"""Offers: generated, read, counted and drawn."""

from datetime import date
from typing import Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from sortiment.settings.base import Seed, Share, StageSettings


class MarketSettings(StageSettings):
    """Generating the synthetic market and its second day."""

    seed: Seed = Field(0, description="another seed gives other brands, products, shops and titles")
    offers: int = Field(30_000, ge=500, le=20_000_000, description="offers of the first day, all countries together")
    countries: tuple[Literal["DE", "AT", "ES", "IT", "FR", "GB"], ...] = Field(
        ("DE", "AT", "ES", "IT", "FR", "GB"), min_length=1, description="countries that have shops"
    )
    departments: tuple[str, ...] | None = Field(None, description="department ids to use; nothing = all of them")
    shops_per_country: int = Field(12, ge=2, le=5_000, description="shops in each country")
    offers_per_product: float = Field(2.5, ge=1.0, le=100.0, description="mean offers that share one product")
    zipf_exponent: float = Field(0.9, ge=0.0, le=3.0, description="how fast category sizes fall by rank")
    rare_categories: int = Field(8, ge=0, le=100, description="categories with only 1 to 5 offers in all")
    wrong_label_share: Share = Field(0.03, description="labelled offers that stand in a wrong category")
    unlabelled_share: Share = Field(0.35, description="offers without a label")
    nameless_share: Share = Field(0.1, description="titles with brand and model but no word for the product")
    missing_brand_share: Share = Field(0.15, description="titles that leave the brand out")
    typo_share: Share = Field(0.05, description="titles with a typing error")
    broken_row_share: Share = Field(0.001, description="feed rows that break the contract, on top of the offers")
    first_day: date = Field(date(2026, 1, 5), description="when the first day's offers were seen")
    second_day_offers: int = Field(6_000, ge=100, le=20_000_000, description="offers of the second day, everywhere")
    drifted_offers: int = Field(1_500, ge=50, le=5_000_000, description="more offers in the slice that drifts")


class FeedSettings(StageSettings):
    """Reading, cleaning and quarantining feed files."""

    quarantine_limit: Share = Field(0.2, description="a file with a larger share of broken rows fails")
    title_max_chars: int = Field(1000, ge=1, le=10_000, description="a longer title, after cleaning, is quarantined")
    text_max_chars: int = Field(10_000, ge=100, le=100_000, description="other text is cut after this many characters")
    on_unreadable_file: Literal["fail", "skip"] = Field(
        "fail",
        description="a feed file that is damaged as a whole fails the load, or is left out and named in the result",
    )
    unreadable_optional: Literal["quarantine", "drop"] = Field(
        "quarantine",
        description="what an unreadable price, currency, date or withdrawn mark does: the row or only the value goes",
    )
    memory_mb: int = Field(
        1024, ge=128, description="memory for DuckDB while a file loads, of each file; beyond it, it spills to disk"
    )
    workers: int = Field(
        0,
        ge=0,
        le=256,
        description="feed files that are loaded side by side, each by a process with about 1.5 GB of memory; 0 = one "
        "per core, as far as half of the memory goes",
    )
    max_departments: int = Field(
        60, ge=1, le=2_000, description="top levels of the labels with a partition of their own: the largest, at first"
    )
    shared_departments: int = Field(20, ge=1, le=100, description="partitions that the other top levels share, by hash")


class SamplingSettings(StageSettings):
    """Drawing the training sample."""

    seed: Seed = Field(0, description="changes the order in which offers are taken")
    policy: Literal["cap", "sqrt", "temperature"] = Field(
        "cap",
        description="offers asked of a category: cap = per_category of each; sqrt and temperature = per_category of "
        "the largest, others by the root or the power `temperature` of their share of the largest's size",
    )
    temperature: Share = Field(0.3, description="power of the policy temperature: 0 = equal, 1 = proportional")
    per_category: int = Field(200, ge=1, le=1_000_000, description="most offers asked of a country's category")
    fresh_per_category: int = Field(
        200,
        ge=0,
        le=1_000_000,
        description="offers asked of a category beside those, of what came since the last training, where a slice "
        "drifted; 0 = none",
    )
    minimum_per_category: int = Field(
        20, ge=1, le=1_000_000, description="least offers asked of a category, where per_category is not less still"
    )
    per_shop_share: float = Field(
        0.5,
        ge=0.001,
        le=1.0,
        description="largest share of what is asked of a category that one shop may fill, rounded up; 1 = no cap. "
        "Offers without a shop are not capped",
    )
    unlabelled_per_country: int = Field(
        5_000, ge=0, le=10_000_000, description="offers without a label kept per country, spread evenly over its shops"
    )
    reserve_slack: float = Field(
        1.25, ge=1.0, le=10.0, description="depth of the state's reserve over the largest draw: room for withdrawals"
    )
    test_share: Share = Field(0.2, description="share of product groups in the test split")
    validation_share: Share = Field(0.1, description="share of product groups in the validation split")
    near_duplicates: Literal["drop", "keep"] = Field(
        "drop", description="training offers that nearly repeat a test or validation offer: left out or kept"
    )
    near_duplicate_similarity: float = Field(
        0.7, ge=0.3, le=1.0, description="titles at or above this Jaccard similarity of character 4-grams are near"
    )
    suspect_labels: Literal["keep", "down_weight", "drop"] = Field(
        "keep", description="offers whose label another offer of the same product contradicts"
    )
    suspect_weight: Share = Field(0.3, description="training weight of a suspect offer where it is down-weighted")
    head_share: Share = Field(0.5, description="the largest categories that hold this share of offers are the head")
    tail_share: Share = Field(0.1, description="the smallest categories that hold this share of offers are the tail")
    on_unreadable_part: Literal["fail", "skip"] = Field(
        "fail", description="a missing or damaged part fails the census, or is left out and named in the result"
    )

    @model_validator(mode="after")
    def _shares_leave_room(self) -> Self:
        if self.test_share + self.validation_share >= 1.0:
            raise ValueError(
                "test_share and validation_share together must stay below 1: nothing would be left to train"
            )
        if self.head_share + self.tail_share > 1.0:
            raise ValueError("head_share and tail_share together must not exceed 1")
        return self
