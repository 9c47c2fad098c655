"""From an encoder reference to a folder on disk that any Hugging Face tool can load.

Three kinds of reference:

    /models/e5-large          a local Hugging Face directory (safetensors, tokenizer.json)
    intfloat/e5-small[@REV]   a hub id, downloaded once into the cache
    package:NAME              weights that a Python package ships, converted once into the cache

The version of an encoder is the hash of its content, not of its name: renamed weights are the same encoder, and
re-uploaded ones are not.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sortiment.artifacts import content_version, file_sha256
from sortiment.encoders.prompts import family_of
from sortiment.encoders.stored_tensors import read_header
from sortiment.errors import EncoderError
from sortiment.progress import Progress

PACKAGE = "package:"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w.-]+)?")
HUB_FILES = [
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "*.model",
]
FAMILY_FILE = "encoder.json"


@dataclass(frozen=True)
class EncoderFolder:
    """An encoder on this machine.

    path: Hugging Face directory. cache: where what is derived from it is kept. version: hash of weights, configuration
    and tokenizer. family: which prompt the encoder was trained with (`sortiment.encoders.prompts`). hidden: width of
    an embedding. parameters: all weights, the token table included.
    """

    reference: str
    path: Path
    cache: Path
    version: str
    family: str
    hidden: int
    layers: int
    vocabulary: int
    parameters: int

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.path.glob("*.safetensors"))


def resolve_encoder(reference: str, cache: Path, progress: Progress) -> EncoderFolder:
    """The folder of an encoder reference; converts or downloads into `cache` where that was not done before.

    Raises EncoderError for a reference of no known kind, a hub that cannot be reached, or a folder that lacks files.
    """
    if reference.startswith(PACKAGE):
        from sortiment.encoders.packaged import convert_packaged

        return describe_folder(reference, convert_packaged(reference.removeprefix(PACKAGE), cache, progress), cache)
    local = Path(reference).expanduser()
    if reference and local.is_dir():
        return describe_folder(reference, local, cache)
    if HUB_ID.fullmatch(reference):
        return describe_folder(reference, _downloaded(reference, cache), cache)
    raise EncoderError(
        "the encoder reference names nothing that can be loaded",
        value=reference,
        allowed="an existing Hugging Face directory, a hub id such as intfloat/multilingual-e5-small, or "
        "package:multilingual-e5-small",
        fix="correct settings.encoder.reference in the market file",
    )


def describe_folder(reference: str, folder: Path, cache: Path) -> EncoderFolder:
    """A Hugging Face directory as an encoder. Raises EncoderError naming what the folder lacks."""
    config = _config(folder)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise EncoderError(
            "the encoder's folder has no safetensors weights",
            value=str(folder),
            allowed="*.safetensors; pickled weights (*.bin) are not loaded, they can run code",
            fix="convert them: AutoModel.from_pretrained(...).save_pretrained(folder)",
        )
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise EncoderError(
            "the encoder's folder has no tokenizer.json",
            value=str(folder),
            fix="write it: AutoTokenizer.from_pretrained(...).save_pretrained(folder)",
        )
    try:
        hidden, layers, vocabulary = config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]
    except KeyError as error:
        raise EncoderError(
            f"the encoder's config.json has no {error.args[0]}",
            value=str(folder / "config.json"),
            allowed="a transformer encoder: BERT, XLM-RoBERTa, DistilBERT in BERT's naming, ModernBERT, ...",
        ) from error
    contents = {file.name: file_sha256(file) for file in [folder / "config.json", tokenizer, *weights]}
    return EncoderFolder(
        reference=reference,
        path=folder,
        cache=cache,
        version=content_version(contents),
        family=_family(reference, folder, config),
        hidden=int(hidden),
        layers=int(layers),
        vocabulary=int(vocabulary),
        parameters=sum(math.prod(tensor.shape) for file in weights for tensor in read_header(file)),
    )


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EncoderError(
            "the encoder's folder has no config.json",
            value=str(folder),
            allowed="a Hugging Face directory",
            fix="give the directory that save_pretrained or `hf download` wrote",
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EncoderError("the encoder's config.json is not JSON", value=str(file)) from error
    return config


def _family(reference: str, folder: Path, config: dict[str, Any]) -> str:
    """What the folder itself says, else what its names give away: not those of the folders that it lies in."""
    file = folder / FAMILY_FILE
    if file.is_file():
        return str(json.loads(file.read_text(encoding="utf-8"))["family"])
    return family_of(f"{_own_name(reference)} {_own_name(str(config.get('_name_or_path', '')))}")


def _own_name(reference: str) -> str:
    """The last part of a path or hub id; of a hub cache's `models--OWNER--NAME/snapshots/COMMIT`, the model's."""
    parts = [part for part in re.split(r"[/\\]", reference) if part]
    if len(parts) > 2 and parts[-2] == "snapshots":
        return parts[-3].rpartition("--")[2]
    return parts[-1] if parts else ""


def _downloaded(reference: str, cache: Path) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = reference.partition("@")
    cache_dir = cache / "hub"
    try:
        return Path(snapshot_download(name, revision=revision or None, cache_dir=cache_dir, allow_patterns=HUB_FILES))
    except Exception as error:  # the hub's client raises its own, requests' and the operating system's errors
        raise EncoderError(
            "the encoder could not be downloaded from the hub",
            value=f"{reference}: {type(error).__name__}",
            allowed="a local directory or package:multilingual-e5-small need no network",
            fix=f"where there is a network: hf download {name} --local-dir encoders/{name.split('/')[-1]}; "
            "then give that directory as settings.encoder.reference",
        ) from error
