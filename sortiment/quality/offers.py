"""The bench's offers: any feed spec through the platform's own loader, with the keys that splits go by."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sortiment.artifacts import ArtifactStore, content_version
from sortiment.errors import FeedError
from sortiment.feeds import FeedSpec, load_parts
from sortiment.progress import Progress
from sortiment.sampling.order import rank_keys
from sortiment.settings import FeedSettings
from sortiment.taxonomy import Taxonomy, derive_taxonomy
from sortiment.teacher import CategoryNames, names_of

COLUMNS = [
    "offer_key", "country", "shop_id", "title", "brand", "description", "shop_category", "price",
    "category_id", "department", "feed", "product_id", "gtin",
]  # fmt: skip


@dataclass(frozen=True)
class FeedOffers:
    """One feed. table: one row per offer, ordered by offer_key, columns COLUMNS. version: hash of its content.

    names: each category's paths, in the languages of the taxonomy, or as the offers' labels have them.
    """

    name: str
    table: pa.Table
    version: str
    names: CategoryNames = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Whether each offer has a label."""
        mask: npt.NDArray[np.bool_] = pc.is_valid(self.table["category_id"]).to_numpy()
        return mask

    @property
    def departments(self) -> dict[str, str]:
        rows = self.table.select(["category_id", "department"]).filter(pc.is_valid(self.table["category_id"]))
        return dict(zip(rows["category_id"].to_pylist(), rows["department"].to_pylist(), strict=True))


def load_offers(
    specs: Sequence[FeedSpec],
    store: ArtifactStore,
    settings: FeedSettings,
    progress: Progress,
    name: str | None = None,
    taxonomy: Taxonomy | None = None,
    limit: int | None = None,
) -> FeedOffers:
    """The offers of one or several specs as one feed. limit: at most so many, drawn by key.

    Where a key repeats, the last file's offer stays. Raises FeedError where fewer than two categories have
    some of these.
    """
    parts = load_parts(specs, taxonomy, store, settings, progress)
    tables = [pq.read_table(path) for part in parts for path in part.paths.values()]
    table = pa.concat_tables(tables, promote_options="permissive") if tables else None
    if table is not None:
        table = table.filter(pc.invert(pc.fill_null(table["withdrawn"], False))).select(COLUMNS)
        keys = table["offer_key"].to_numpy()
        _, last = np.unique(keys[::-1], return_index=True)
        table = table.take(pa.array(len(keys) - 1 - last))
    cut = False
    if table is not None and limit is not None and table.num_rows > limit:
        cut = True
        ranks = rank_keys(table["offer_key"].to_numpy(), 0)
        table = table.take(pa.array(np.sort(np.argsort(ranks, kind="stable")[:limit])))
    if table is None or len(table["category_id"].drop_null().unique()) < 2:
        raise FeedError(
            "the bench needs labelled offers of two categories or more",
            value=", ".join(spec.name for spec in specs) + (f", cut to {limit} offers" if cut else ""),
            fix="map `category` in the feed spec (docs/contracts.md)" + (", or raise --offers" if cut else ""),
        )
    content = content_version([sorted(part.version for part in parts), limit])
    tree = taxonomy or derive_taxonomy(parts)
    return FeedOffers(name or specs[0].name, table.combine_chunks(), content, names_of(tree))


def bench_store(folder: Path) -> ArtifactStore:
    """Where the bench keeps what it made."""
    from sortiment.blobs import LocalBlobs

    return ArtifactStore(LocalBlobs(folder / "store"), folder / "scratch")
