"""How much likelier each class is where the teacher answers than among its labels: read off offers without a label.

Labels are not spread as offers are: a sample holds as many of a small class as of a large one, and shops label what is
easy. So what the teacher takes for a class's share is corrected. Both shares are means of the teacher's own
probabilities, over labelled training offers as if not seen and over unlabelled ones: one step of the EM algorithm of
Saerens et al. 2002. More steps empty the small classes (docs/experiments.md).

- A country with labels: its offers are expected to be like all its training offers, labelled and unlabelled together.
  Where few are unlabelled, or none, that changes little, or nothing.
- A country without a label (another language): what it is given too often is the language's doing, not its market's.
  It is expected to have the classes' shares of the labelled countries, and its answers are corrected to that mean.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sortiment.teacher.ridge import Floats, Ints

LIFTS_FILE = "lifts.safetensors"
COMMON, COUNTRY = "common", "country "


@dataclass(frozen=True)
class Lifts:
    """What the logarithms of the classes' probabilities are raised by, float32 [classes]. of_country: in countries
    without a label; common: in all others."""

    common: Floats
    of_country: dict[str, Floats]

    def of(self, countries: Sequence[str]) -> Floats:
        """[classes], or [offers, classes] where an offer's country has its own."""
        own = [row for row, country in enumerate(countries) if country in self.of_country]
        if not own:
            return self.common
        lifts = np.tile(self.common, (len(countries), 1))
        for row in own:
            lifts[row] = self.of_country[countries[row]]
        return lifts

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        own = {f"{COUNTRY}{name}": lift for name, lift in self.of_country.items()}
        save_file({COMMON: self.common, **own}, folder / LIFTS_FILE)
        (folder / LIFTS_FILE).chmod(0o644)

    @classmethod
    def load(cls, folder: Path) -> "Lifts":
        from safetensors.numpy import load_file

        arrays = load_file(folder / LIFTS_FILE)
        common = arrays.pop(COMMON)
        return cls(common, {name.removeprefix(COUNTRY): lift for name, lift in arrays.items()})


@dataclass(frozen=True)
class Shares:
    """mean: of some offers' calibrated probabilities, float64 [classes]. offers: how many these are. of: how many they
    stand for."""

    mean: npt.NDArray[np.float64]
    offers: int
    of: int


def group_offers(countries: Sequence[str], with_labels: Set[str]) -> dict[str, Ints]:
    """Rows of unlabelled offers, by the country where it has no label, the others together as COMMON."""
    names = np.array([COMMON if country in with_labels else country for country in countries], dtype=str)
    return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}


def spread_evenly(count: int, limit: int) -> Ints:
    """At most `limit` of so many rows, at equal distances."""
    rows: Ints = np.unique(np.linspace(0, count - 1, min(limit, count)).astype(np.int64))
    return rows


def correct_lifts(lift: Floats, labelled: Shares, unlabelled: Mapping[str, Shares]) -> Lifts:
    """lift: that the shares were seen with. labelled: of all labelled offers. unlabelled: by group."""
    own = {name: _compare(labelled, seen) for name, seen in unlabelled.items()}
    common = lift
    if COMMON in own:
        of = unlabelled[COMMON].of
        common = _raise(lift, 1.0 + of / (of + labelled.of) * (own.pop(COMMON) - 1.0))
    return Lifts(common, {name: _raise(lift, 1.0 / times) for name, times in own.items()})


def _compare(labelled: Shares, seen: Shares) -> npt.NDArray[np.float64]:
    """How many times as frequent each class is among the others as among the labelled.

    As if the smaller side, and the other as well, had shown one more offer of each class: few offers say little, and a
    class of one offer, which nothing knows when that is left out, is not thought to be a thousand times as frequent.
    """
    more = 1.0 / min(labelled.offers, seen.offers)
    times: npt.NDArray[np.float64] = (seen.mean + more) / (labelled.mean + more)
    return times


def _raise(lift: Floats, ratio: npt.NDArray[np.float64]) -> Floats:
    raised: Floats = (lift + np.log(ratio)).astype(np.float32)
    return raised
