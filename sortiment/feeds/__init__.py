"""Feed files into offers: specs, reading, cleaning, quarantine, parts. The feed contract is in docs/contracts.md."""

from sortiment.feeds.doubts import doubt_parts, open_doubting, settle_doubts
from sortiment.feeds.files import FeedFile, FoundFile, find_feed_files, list_feed_files, natural_key
from sortiment.feeds.grouping import departments_of, group_departments
from sortiment.feeds.listing import (
    find_parts,
    list_places,
    list_sources,
    listing_recipe,
    read_left_out,
    read_listing,
    read_parts,
    read_quarantine,
    write_listing,
)
from sortiment.feeds.loading import CODE_VERSION, load_feed_file, read_batches
from sortiment.feeds.market_feeds import LeftOutFile, LoadedFeeds, keep_places, load_feeds, load_parts, part_recipe
from sortiment.feeds.offer_files import OFFER_SCHEMA, offers_file
from sortiment.feeds.parts import (
    PART_ASSET,
    PARTS_FILE,
    Department,
    MarketDescription,
    OfferPart,
    describe_market,
    open_part,
    write_offers,
)
from sortiment.feeds.reasons import MEANING
from sortiment.feeds.report import CountryOffers, FeedFileReport
from sortiment.feeds.spec import CONTRACT_COLUMNS, FeedSpec, parse_spec
from sortiment.feeds.spec_file import load_spec
from sortiment.feeds.staging import offer_key

__all__ = [
    "CODE_VERSION",
    "CONTRACT_COLUMNS",
    "MEANING",
    "OFFER_SCHEMA",
    "PARTS_FILE",
    "PART_ASSET",
    "CountryOffers",
    "Department",
    "FeedFile",
    "FeedFileReport",
    "FeedSpec",
    "FoundFile",
    "LeftOutFile",
    "LoadedFeeds",
    "MarketDescription",
    "OfferPart",
    "departments_of",
    "describe_market",
    "doubt_parts",
    "find_feed_files",
    "find_parts",
    "group_departments",
    "keep_places",
    "list_feed_files",
    "list_places",
    "list_sources",
    "listing_recipe",
    "load_feed_file",
    "load_feeds",
    "load_parts",
    "load_spec",
    "natural_key",
    "offer_key",
    "offers_file",
    "open_doubting",
    "open_part",
    "parse_spec",
    "part_recipe",
    "read_batches",
    "read_left_out",
    "read_listing",
    "read_parts",
    "read_quarantine",
    "settle_doubts",
    "write_listing",
    "write_offers",
]
