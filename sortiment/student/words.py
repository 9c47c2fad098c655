"""Whole words of the market in the student's vocabulary: brands, product words, sizes that its offers repeat.

A multilingual tokenizer cuts what it does not know, and shops' words it mostly does not know: "torquemaster" is four
pieces that stand in a hundred other words. N-gram models read words and are strong on titles because of it. So words
that the training offers repeat become pieces of their own, with the mean of their pieces' rows to start from, and the
table is then taught (`table.py`). Titles also become a third shorter, which is a third less arithmetic for ever after.
The tokenizer stays a plain unigram model: a word's score is its old best segmentation's plus a little, so that it wins
there and changes nothing elsewhere. Cf. Nag et al. 2023, "Efficient Domain Adaptation of Pretrained Language Models".
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

from sortiment.blobs import write_atomically
from sortiment.student.lattice import START

LEAST_LETTERS = 2
PREFERENCE = 0.5  # log probability of a word over its best segmentation


def add_words(
    student: BertForSequenceClassification, folder: Path, texts: Sequence[str], least_offers: int, most: int
) -> int:
    """Add the words that at least `least_offers` texts hold, the most frequent first, to the tokenizer in `folder`
    and to the student's token table, in place. Returns how many; 0 where the tokenizer is not a unigram model."""
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    model = content["model"]
    if model["type"] != "Unigram" or not texts:
        return 0
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    chosen = [word for word in _frequent_words(tokenizer, texts, least_offers) if len(word) > LEAST_LETTERS]
    pieces = [encoding.ids for encoding in tokenizer.encode_batch_fast(chosen, add_special_tokens=False)]
    cut = [(word, ids) for word, ids in zip(chosen, pieces, strict=True) if len(ids) > 1 and model["unk_id"] not in ids]
    cut = cut[:most]
    scores = [score for _, score in model["vocab"]]
    model["vocab"] += [[START + word, sum(scores[piece] for piece in ids) + PREFERENCE] for word, ids in cut]
    write_atomically(file, json.dumps(content, ensure_ascii=False).encode())
    _grow_table(student, [ids for _, ids in cut])
    student.config.market_words = getattr(student.config, "market_words", 0) + len(cut)
    return len(cut)


def tokenizer_without_words(folder: Path, words: int) -> Tokenizer:
    """The tokenizer of a folder as it was before its last `words` pieces were added."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    if words:
        content["model"]["vocab"] = content["model"]["vocab"][:-words]
    tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _frequent_words(tokenizer: Tokenizer, texts: Sequence[str], least_offers: int) -> list[str]:
    """Words as the tokenizer normalizes them, without the punctuation around them; most offers first."""
    offers: Counter[str] = Counter()
    normalizer = tokenizer.normalizer
    for text in texts:
        plain = normalizer.normalize_str(text) if normalizer else text
        offers.update({word for chunk in plain.split() if (word := _leading_word(chunk))})
    return sorted((word for word, count in offers.items() if count >= least_offers), key=lambda w: (-offers[w], w))


def _leading_word(chunk: str) -> str:
    """The letters and digits that a chunk begins with; a piece with a word's start must begin there."""
    for place, letter in enumerate(chunk):
        if not (letter.isalnum() or (letter in "-'\u2019" and place)):
            return chunk[:place].rstrip("-'\u2019")
    return chunk.rstrip("-'\u2019")


def _grow_table(student: BertForSequenceClassification, pieces: Sequence[Sequence[int]]) -> None:
    """A row for each new word: the mean of its pieces' rows."""
    old = student.bert.embeddings.word_embeddings
    rows = [old.weight.detach()[list(ids)].mean(0) for ids in pieces]
    if not rows:
        return
    grown = torch.nn.Embedding(len(old.weight) + len(rows), old.weight.shape[1], padding_idx=old.padding_idx)
    with torch.no_grad():
        grown.weight.copy_(torch.cat([old.weight, torch.stack(rows)]))
    student.bert.embeddings.word_embeddings = grown
    student.config.vocab_size = len(grown.weight)
