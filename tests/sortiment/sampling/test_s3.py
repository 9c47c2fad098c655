"""Parts on S3 give the same sample as local ones; the server is real, its bucket is not Amazon's."""

from pathlib import Path

import pytest

from sortiment.feeds.offer_index import counts_address, rows_address
from sortiment.sampling import OfferPart, S3Options, UnreadablePart, build_state
from sortiment.settings import SamplingSettings
from tests.sortiment.sampling.conftest import Offer, WritePart
from tests.sortiment.sampling.test_mergeable import bytes_of

SETTINGS = SamplingSettings(per_category=5)


def test_parts_are_read_from_s3(write_part: WritePart, s3_server: str, tmp_path: Path) -> None:
    boto3 = pytest.importorskip("boto3")
    client = boto3.client("s3", endpoint_url=s3_server, region_name="eu-central-1")
    client.create_bucket(Bucket="offers", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    parts = [write_part([Offer(number * 2**48 + day, "mugs") for number in range(200)]) for day in range(2)]
    parts.append(write_part([Offer(number * 2**48, "pans") for number in range(30)]))
    remote = []
    for index, part in enumerate(parts):
        target = f"de/part {index}.parquet"
        for address in (str, counts_address, rows_address):
            client.upload_file(address(part.uri), "offers", address(target))
        remote.append(OfferPart(f"s3://offers/{target}"))
    s3 = S3Options(endpoint=s3_server, region="eu-central-1", access_key="nobody", secret_key="nothing")
    local = build_state(parts, SETTINGS, tmp_path / "local")
    far = build_state(remote[:2], SETTINGS, tmp_path / "first days", s3=s3)
    far = build_state(remote[2:], SETTINGS, tmp_path / "far", before=far, s3=s3)
    assert (far.rows, far.offers) == (430, 400)
    assert bytes_of(far, SETTINGS, tmp_path / "a") == bytes_of(local, SETTINGS, tmp_path / "b")
    with pytest.raises(UnreadablePart, match="absent"):
        build_state([OfferPart("s3://offers/absent.parquet")], SETTINGS, tmp_path / "none", s3=s3)


def test_secrets_do_not_show(s3_server: str) -> None:
    options = S3Options(endpoint=s3_server, access_key="nobody", secret_key="hidden", session_token="veiled")
    assert "hidden" not in repr(options)
    assert "veiled" not in repr(options)
