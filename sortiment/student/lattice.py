"""All the ways of cutting a word into a unigram tokenizer's pieces, and drawing some of them (Kudo 2018)."""

import json
import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from tokenizers import Tokenizer

START = "\u2581"  # what the tokenizer writes for the beginning of a word
LONGEST_PIECE = 24
LONGEST_WORD = 64  # a longer one is cut the tokenizer's way

# what may end at one place of a text: running sums of the pieces' weights, where each begins, its id
Step = tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Lattice:
    """pieces: id and log probability of each piece."""

    tokenizer: Tokenizer
    pieces: dict[str, tuple[int, float]]

    def sample(self, word: str, ways: int, sharpness: float, chance: np.random.Generator) -> list[list[int]]:
        """`ways` segmentations of one word, in proportion to their probability to the power of `sharpness`: 1 is the
        model's own distribution, 0 takes all as equally likely. A word that pieces cannot spell is cut as the
        tokenizer cuts it."""
        best = self.tokenizer.encode(word, add_special_tokens=False).ids
        text = START + (self.tokenizer.normalizer.normalize_str(word) if self.tokenizer.normalizer else word)
        if len(best) == 0 or not 2 < len(text) <= LONGEST_WORD or any(mark.isspace() for mark in text):
            return [best]
        steps = self._steps(text, sharpness)
        if steps is None:
            return [best]
        return [_draw(steps, draws) for draws in chance.random((ways, len(text))).tolist()]

    def _steps(self, text: str, sharpness: float) -> list[Step] | None:
        """For each place of the text, the pieces that may end there; None where no pieces spell the text."""
        total = [0.0] + [-math.inf] * len(text)  # log of the summed weights of all ways to cut text[:i]
        steps: list[Step] = [((), (), ())]
        for end in range(1, len(text) + 1):
            found = []
            for begin in range(max(0, end - LONGEST_PIECE), end):
                piece = self.pieces.get(text[begin:end])
                if piece is not None and total[begin] > -math.inf:
                    found.append((begin, piece[0], total[begin] + sharpness * piece[1]))
            top = max((weight for _, _, weight in found), default=0.0)
            sums = tuple(accumulate(math.exp(weight - top) for _, _, weight in found))
            if found:
                total[end] = top + math.log(sums[-1])
            steps.append((sums, tuple(begin for begin, _, _ in found), tuple(piece for _, piece, _ in found)))
        return steps if total[-1] > -math.inf else None


def _draw(steps: list[Step], uniform: list[float]) -> list[int]:
    """One way to cut, from its last piece to its first."""
    end, drawn = len(steps) - 1, []
    while end:
        sums, begins, pieces = steps[end]
        chosen = min(bisect_right(sums, uniform[end - 1] * sums[-1]), len(sums) - 1)
        drawn.append(pieces[chosen])
        end = begins[chosen]
    return drawn[::-1]


def read_lattice(tokenizer: Tokenizer) -> Lattice | None:
    """None where the tokenizer is not a unigram model."""
    model = json.loads(tokenizer.to_str())["model"]
    if model["type"] != "Unigram":
        return None
    return Lattice(tokenizer, {piece: (index, score) for index, (piece, score) in enumerate(model["vocab"])})
