"""An encoder reference names one folder, or the error says how to name one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sortiment.encoders import offer_texts, prompted, resolve_encoder
from sortiment.encoders.prompts import family_of
from sortiment.errors import EncoderError
from sortiment.progress import silent
from sortiment.settings import EncoderSettings


def test_a_local_folder_is_described_by_its_content(tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = resolve_encoder(str(tiny_encoder), tmp_path, silent)
    assert (encoder.hidden, encoder.layers, encoder.family) == (32, 4, "plain")
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / "other-name"))
    assert resolve_encoder(str(copy), tmp_path, silent).version == encoder.version


def test_changed_weights_are_another_encoder(tiny_encoder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / "copy"))
    file = copy / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(bytes(data))
    assert (
        resolve_encoder(str(copy), tmp_path, silent).version
        != resolve_encoder(str(tiny_encoder), tmp_path, silent).version
    )


@pytest.mark.parametrize(
    "reference", ["", "/no/such/folder", "three/parts/id", "package:unheard-of", "no spaces/in ids"]
)
def test_a_reference_that_names_nothing_is_refused_with_what_is_allowed(reference: str, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="package:multilingual-e5-small"):
        resolve_encoder(reference, tmp_path, silent)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused_by_that_file(tiny_encoder: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / "copy"))
    (copy / name).unlink()
    with pytest.raises(EncoderError, match=name.replace("model.", "")):
        resolve_encoder(str(copy), tmp_path, silent)


def test_a_folder_can_say_which_prompt_its_encoder_knows(tiny_encoder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / "copy"))
    (copy / "encoder.json").write_text(json.dumps({"family": "e5"}), encoding="utf-8")
    assert resolve_encoder(str(copy), tmp_path, silent).family == "e5"


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("intfloat/multilingual-e5-small", "e5"),
        ("intfloat/multilingual-e5-large-instruct", "e5-instruct"),
        ("microsoft/Multilingual-MiniLM-L12-H384", "plain"),
        ("/models/cafe5/base", "plain"),
    ],
)
def test_a_name_gives_its_prompt_family_away(name: str, family: str) -> None:
    assert family_of(name) == family


@pytest.mark.parametrize(
    ("place", "family"),
    [
        ("e5-against-others/bge-m3", "plain"),
        ("instruct/multilingual-e5-small", "e5"),
        ("hub/models--intfloat--multilingual-e5-large-instruct/snapshots/0a1b2c", "e5-instruct"),
    ],
)
def test_the_folders_that_an_encoder_lies_in_say_nothing_of_its_prompt(
    tiny_encoder: Path, tmp_path: Path, place: str, family: str
) -> None:
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / place))
    assert resolve_encoder(str(copy), tmp_path, silent).family == family


def test_a_country_has_its_own_prompt_where_one_is_set() -> None:
    settings = EncoderSettings(prompts={"DE": "Ware: "})
    assert prompted(["a", "b"], "e5", settings, ["DE", "FR"]) == ["Ware: a", "query: b"]
    assert prompted(["a"], "plain", settings) == ["a"]
    assert prompted(["a"], "e5-instruct", settings)[0].startswith("Instruct: Given the title")


def test_a_brand_is_added_only_where_the_title_does_not_say_it() -> None:
    columns = {"title": ["Bosch drill", "drill", "drill"], "brand": ["BOSCH", "Bosch", None]}
    assert offer_texts(columns, ("title", "brand")) == ["Bosch drill", "drill Bosch", "drill"]


def test_importing_encoders_and_teachers_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'openvino', 'sklearn', 'scipy', 'lightning'}"
    stages = "sortiment.encoders, sortiment.teacher, sortiment.evaluation"
    code = f"import sys, {stages}; print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
