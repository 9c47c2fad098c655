"""Cutting an encoder's vocabulary to what a market's texts use.

A multilingual token table is four fifths of MiniLM's weights, and six countries' offers touch a seventh of its rows.
Texts whose pieces are all kept keep exactly their tokens: a unigram model's best segmentation stays the best when
others are taken away. Any other text falls back on shorter pieces, and the report says how often and how far.
Method: piece selection as in Abdaoui et al. 2020, "Load What You Need".

Few texts use few of the pieces that the next ones will need. How often is known from the texts themselves: a text with
a piece that no other product's text has would have changed, had its product not been there. So the likeliest pieces of
the same scripts are kept too, as many as bring that share down to what is asked.
"""

import json
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sortiment.blobs import write_atomically
from sortiment.encoders.embedding import Embedder, load_tokenizer
from sortiment.encoders.references import EncoderFolder, describe_folder
from sortiment.errors import EncoderError
from sortiment.progress import Progress, silent
from sortiment.settings import EncoderSettings

COPIED = ("tokenizer_config.json", "special_tokens_map.json", "encoder.json")
MAX_COMPARED = 128

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class TrimReport:
    """What trimming saved and what it changed.

    changed_share: held-out texts whose tokens are others than before; None without held-out texts. cosine_mean,
    cosine_min: over the held-out texts, unchanged ones counting 1; from at most 128 changed ones.
    """

    pieces_before: int
    pieces_after: int
    bytes_before: int
    bytes_after: int
    held_out: int
    changed_share: float | None
    cosine_mean: float | None
    cosine_min: float | None


def trim_vocabulary(
    encoder: EncoderFolder,
    texts: Iterable[str],
    out: Path,
    settings: EncoderSettings,
    progress: Progress,
    *,
    products: npt.NDArray[np.uint64] | None = None,
    held_out: Sequence[str] = (),
    changed_titles: float = 1.0,
) -> TrimReport:
    """Write the encoder with only the pieces that `texts` use, all single characters and the special tokens to `out`.

    texts, held_out: as the encoder will read them, with their prompt. changed_titles: the share of unseen texts whose
    pieces may change; below 1, a unigram model keeps further pieces until that is expected. products: a number for each
    text, since the unseen texts are of other products; 0 for one that unseen texts are not like, as a category's name
    is; None: each text is a product's only one. `out` becomes a Hugging Face directory; it may exist, its files are
    written over. Raises EncoderError for a tokenizer that is neither unigram nor WordPiece.
    """
    content = json.loads((encoder.path / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = _pieces(content, encoder.path)
    keep = _needed(pieces, content)
    tokenizer = load_tokenizer(encoder)
    tokenizer.no_truncation()
    used: list[Ids] = []
    with progress("find the encoder's pieces in use", unit="titles") as step:
        rest = iter(texts)
        while part := list(islice(rest, 8192)):
            encodings = tokenizer.encode_batch_fast(part)
            used += [np.unique(np.array(encoding.ids, np.int32)) for encoding in encodings]
            step.advance(len(part))
    for ids in used:
        keep[ids] = True
    if changed_titles < 1.0 and content["model"]["type"] == "Unigram":
        scores = np.array([score for _, score in content["model"]["vocab"]], np.float64)
        keep |= _spare_pieces(pieces, scores, used, products, changed_titles)
    kept = np.flatnonzero(keep)
    out.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(content, pieces, kept, encoder.path, out)
    _write_weights(encoder, kept, len(pieces), out)
    return _report(encoder, describe_folder(str(out), out, encoder.cache), kept, settings, held_out)


def _pieces(content: dict[str, Any], folder: Path) -> list[str]:
    model = content["model"]
    if model["type"] == "Unigram":
        return [piece for piece, _ in model["vocab"]]
    if model["type"] == "WordPiece":
        ordered = sorted(model["vocab"].items(), key=lambda entry: entry[1])
        if [index for _, index in ordered] == list(range(len(ordered))):
            return [piece for piece, _ in ordered]
    raise EncoderError(
        "this kind of tokenizer cannot be trimmed",
        value=f"{folder}: {model['type']}",
        allowed="Unigram (XLM-RoBERTa, e5, MiniLM) or WordPiece (BERT)",
        fix="name an encoder with such a tokenizer as settings.encoder.reference; the teacher may use another",
    )


def _needed(pieces: Sequence[str], content: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """Special tokens, and what spells every text that the full vocabulary could spell: single characters and bytes."""
    keep = np.zeros(len(pieces), np.bool_)
    for token in content["added_tokens"]:
        if token["id"] >= len(pieces):
            raise EncoderError(
                "this tokenizer has added tokens outside its vocabulary and cannot be trimmed", value=token["content"]
            )
        keep[token["id"]] = True
    for index, piece in enumerate(pieces):
        bare = piece.removeprefix("##")
        keep[index] |= len(bare) == 1 or (bare.startswith("<0x") and len(bare) == 6)
    if content["model"].get("unk_id") is not None:
        keep[content["model"]["unk_id"]] = True
    return keep


def _spare_pieces(
    pieces: Sequence[str],
    scores: npt.NDArray[np.float64],
    used: Sequence[Ids],
    products: npt.NDArray[np.uint64] | None,
    changed_titles: float,
) -> npt.NDArray[np.bool_]:
    """The likeliest pieces, down to the score at which so many texts would change if each product was left out in turn.

    Only pieces of the scripts that the texts use, and in lower case where all texts are.
    """
    if not used:
        return np.zeros(len(pieces), np.bool_)
    if products is None:
        used = list({ids.tobytes(): ids for ids in used}.values())
        products = np.arange(1, len(used) + 1, dtype=np.uint64)
    counted = products != 0
    _, product = np.unique(products, return_inverse=True)
    pairs = [ids.astype(np.int64) * len(used) + number for ids, number in zip(used, product.tolist(), strict=True)]
    holders = np.bincount(np.unique(np.concatenate(pairs)) // len(used), minlength=len(pieces))
    judged = [ids for ids, counts in zip(used, counted.tolist(), strict=True) if counts]
    worst = np.array([scores[alone].min() if len(alone := ids[holders[ids] == 1]) else 0.0 for ids in judged])
    if not len(worst) or (worst < 0).mean() <= changed_titles:
        return np.zeros(len(pieces), np.bool_)
    seen = [pieces[index] for index in np.flatnonzero(holders).tolist()]
    lower = all(piece == piece.lower() for piece in seen if not piece.startswith("<"))
    scripts = {script for piece in seen for script in _scripts(piece)}
    spare: npt.NDArray[np.bool_] = scores >= np.quantile(worst, changed_titles)
    for index in np.flatnonzero(spare).tolist():
        piece = pieces[index]
        spare[index] = _scripts(piece) <= scripts and (not lower or piece == piece.lower())
    return spare


def _scripts(piece: str) -> set[str]:
    """The scripts of its letters, as the first word of their names: LATIN, CYRILLIC, ..."""
    return {unicodedata.name(letter, "?").split()[0] for letter in piece if letter.isalpha()}


def _write_tokenizer(
    content: dict[str, Any], pieces: Sequence[str], kept: npt.NDArray[np.int64], source: Path, out: Path
) -> None:
    new_ids = {int(old): new for new, old in enumerate(kept)}
    model = content["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in kept]
        if model.get("unk_id") is not None:
            model["unk_id"] = new_ids[model["unk_id"]]
    else:
        model["vocab"] = {pieces[old]: new for new, old in enumerate(kept)}
    for token in content["added_tokens"]:
        token["id"] = new_ids[token["id"]]
    _remap_specials(content.get("post_processor"), new_ids)
    if content.get("padding"):
        content["padding"]["pad_id"] = new_ids[content["padding"]["pad_id"]]
    write_atomically(out / "tokenizer.json", json.dumps(content, ensure_ascii=False).encode())
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


def _remap_specials(processor: dict[str, Any] | None, new_ids: dict[int, int]) -> None:
    """The ids that a post-processor writes around a text."""
    if processor is None:
        return
    for inner in processor.get("processors", []):
        _remap_specials(inner, new_ids)
    if processor["type"] == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [new_ids[old] for old in token["ids"]]
    for name in ("sep", "cls"):
        if isinstance(processor.get(name), list):
            token_text, old = processor[name]
            processor[name] = [token_text, new_ids[old]]


def _write_weights(encoder: EncoderFolder, kept: npt.NDArray[np.int64], pieces: int, out: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    config = json.loads((encoder.path / "config.json").read_text(encoding="utf-8"))
    weights, tables = {}, 0
    for file in sorted(encoder.path.glob("*.safetensors")):
        with safe_open(file, "pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - not a mapping
                tensor = stored.get_tensor(name)
                if tensor.ndim == 2 and tensor.shape[0] == encoder.vocabulary and "embed" in name:
                    tensor = tensor[kept.tolist()].contiguous()
                    tables += 1
                weights[name] = tensor
    if tables != 1 or encoder.vocabulary < pieces:
        raise EncoderError(
            "the encoder's token table was not recognized, so it cannot be trimmed",
            value=f"{tables} tables of {encoder.vocabulary} rows, {pieces} pieces",
            allowed="one token table, with a row for every piece",
        )
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    config["vocab_size"] = len(kept)
    new_ids = {int(old): new for new, old in enumerate(kept)}
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        if config.get(name) is not None:
            config[name] = new_ids.get(config[name], config[name])
    write_atomically(out / "config.json", (json.dumps(config, indent=1, ensure_ascii=False) + "\n").encode())


def _report(
    encoder: EncoderFolder,
    trimmed: EncoderFolder,
    kept: npt.NDArray[np.int64],
    settings: EncoderSettings,
    held_out: Sequence[str],
) -> TrimReport:
    changed_share = cosine_mean = cosine_min = None
    if held_out:
        # torch: for so few texts, converting the encoder to another engine would take longer than computing them
        settings = settings.model_copy(update={"engine": "torch"})
        before, after = Embedder(encoder, settings), Embedder(trimmed, settings)
        # the trimmed table's rows are the full one's: its tokens, numbered as before, give its vectors without it
        renumbered = [kept[np.asarray(ids, np.int64)].tolist() for ids in after.tokenize(held_out)]
        changed = [pair for pair in zip(before.tokenize(held_out), renumbered, strict=True) if pair[0] != pair[1]]
        changed_share = len(changed) / len(held_out)
        cosine_mean = cosine_min = 1.0
        if changed:
            with silent("compare") as step:
                old_vectors, new_vectors = (
                    before.embed_tokens([pair[side] for pair in changed[:MAX_COMPARED]], step) for side in (0, 1)
                )
            norms = np.linalg.norm(old_vectors, axis=1) * np.linalg.norm(new_vectors, axis=1)
            cosines = (old_vectors * new_vectors).sum(1) / norms
            cosine_mean = 1.0 - changed_share * (1.0 - float(cosines.mean()))
            cosine_min = float(cosines.min())
    return TrimReport(
        pieces_before=encoder.vocabulary,
        pieces_after=len(kept),
        bytes_before=encoder.bytes,
        bytes_after=trimmed.bytes,
        held_out=len(held_out),
        changed_share=changed_share,
        cosine_mean=cosine_mean,
        cosine_min=cosine_min,
    )
