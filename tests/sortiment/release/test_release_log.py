"""What the release log promises."""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import pytest

from sortiment.blobs import LocalBlobs
from sortiment.errors import ReleaseError
from sortiment.release import Gate, ReleaseDecision, ReleaseLog
from sortiment.release.events import parse_model

Passing = Callable[..., ReleaseDecision]
WHO = "ann"


def promote(log: ReleaseLog, passing: Passing, *versions: str) -> None:
    for version in versions:
        champion = log.champion()
        against = champion.model_version if champion else None
        log.promote(version, {"compiled_student": f"c-{version}"}, passing(against), datetime.now(UTC), WHO)


def live(log: ReleaseLog) -> str | None:
    champion = log.champion()
    return champion.model_version if champion else None


def test_before_the_first_promotion_there_is_no_champion(log: ReleaseLog) -> None:
    assert log.champion() is None and log.events() == []


def test_a_promotion_makes_the_champion_and_keeps_its_reasons(
    log: ReleaseLog, passing: Passing, noon: datetime
) -> None:
    log.promote("m1", {"student_checkpoint": "s1"}, passing(), noon, WHO)
    champion = log.champion()
    assert champion is not None
    assert (champion.model_version, champion.artifacts, champion.by) == ("m1", {"student_checkpoint": "s1"}, WHO)
    event = log.events()[0]
    assert (event.number, event.action, event.previous, event.reason) == (1, "promote", None, "first release")
    assert event.at == "2026-11-22T12:00:00+00:00"
    assert event.decision is not None and event.decision["gates"][0]["why"] == "100 test offers"


def test_promoting_the_champion_again_changes_nothing(log: ReleaseLog, passing: Passing, noon: datetime) -> None:
    first = log.promote("m1", {}, passing(), noon, WHO)
    assert log.promote("m1", {}, passing(), noon, "bob") == first
    assert len(log.events()) == 1


def test_a_refusal_is_recorded_once_and_changes_no_champion(
    log: ReleaseLog, passing: Passing, refusing: ReleaseDecision, noon: datetime
) -> None:
    promote(log, passing, "m1")
    event = log.refuse("m2", {}, refusing, noon, WHO)
    assert log.refuse("m2", {}, refusing, noon, WHO) == event
    assert [event.action for event in log.events()] == ["promote", "refuse"]
    assert event.reason == "10 test offers; at least 50 are needed"
    assert live(log) == "m1"


def test_what_did_not_pass_cannot_be_promoted(log: ReleaseLog, refusing: ReleaseDecision, noon: datetime) -> None:
    with pytest.raises(ReleaseError, match="did not pass its gates"):
        log.promote("m1", {}, refusing, noon, WHO)
    assert log.events() == []


def test_rollbacks_walk_back_through_the_champions(log: ReleaseLog, passing: Passing, noon: datetime) -> None:
    promote(log, passing, "m1", "m2", "m3")
    event = log.rollback(noon, WHO, "complaints from toys")
    assert (event.model_version, event.previous, event.artifacts) == ("m2", "m3", {"compiled_student": "c-m2"})
    log.rollback(noon, WHO, "still")
    assert live(log) == "m1"
    with pytest.raises(ReleaseError, match="no earlier champion"):
        log.rollback(noon, WHO, "again")
    assert set(log.withdrawn()) == {"m2", "m3"}


def test_a_rollback_can_name_an_earlier_champion(log: ReleaseLog, passing: Passing, noon: datetime) -> None:
    promote(log, passing, "m1", "m2", "m3")
    log.rollback(noon, WHO, "both are bad", to="m1")
    assert live(log) == "m1"
    with pytest.raises(ReleaseError, match="no earlier champion"):
        log.rollback(noon, WHO, "typo", to="m9")


def test_what_was_rolled_back_does_not_come_back_by_itself(log: ReleaseLog, passing: Passing, noon: datetime) -> None:
    promote(log, passing, "m1", "m2")
    log.rollback(noon, WHO, "complaints")
    with pytest.raises(ReleaseError, match="was rolled back"):
        log.promote("m2", {}, passing("m1"), noon, WHO)
    log.promote_by_hand("m2", noon, "boss", "complaints were about the shop")
    assert live(log) == "m2"
    assert log.events()[-1].artifacts == {"compiled_student": "c-m2"}
    assert log.withdrawn() == {}


def test_what_is_live_is_not_withdrawn_however_it_came_back(log: ReleaseLog, passing: Passing, noon: datetime) -> None:
    promote(log, passing, "m1", "m2")
    log.promote_by_hand("m1", noon, WHO, "m2 is slow")
    log.rollback(noon, WHO, "m1 is worse")
    assert set(log.withdrawn()) == {"m1"}
    log.rollback(noon, WHO, "m2 is no better")
    assert live(log) == "m1"
    assert set(log.withdrawn()) == {"m2"}


def test_after_a_damaged_log_was_moved_aside_the_live_model_is_put_back(
    log: ReleaseLog, passing: Passing, noon: datetime, tmp_path: Path
) -> None:
    promote(log, passing, "m1", "m2")
    (tmp_path / "releases/000001.json").unlink()
    (tmp_path / "releases").rename(tmp_path / "aside")
    with pytest.raises(ReleaseError, match="does not know this model"):
        log.promote_by_hand("m2", noon, WHO, "the log was damaged")
    model = parse_model((tmp_path / "aside/champion.json").read_bytes())
    assert model == parse_model((tmp_path / "aside/000002.json").read_bytes()) == ("m2", {"compiled_student": "c-m2"})
    log.promote_by_hand("m2", noon, WHO, "the log was damaged", model[1])
    champion = log.champion()
    assert champion is not None
    assert (champion.model_version, champion.artifacts, champion.number) == ("m2", {"compiled_student": "c-m2"}, 1)
    promote(log, passing, "m3")
    assert log.rollback(noon, WHO, "complaints").model_version == "m2"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"champion": null}', b'{"model_version": 1}'])
def test_a_file_of_something_else_names_no_model(content: bytes) -> None:
    assert parse_model(content) is None


def test_a_person_can_only_promote_what_the_log_knows(log: ReleaseLog, noon: datetime) -> None:
    with pytest.raises(ReleaseError, match="does not know this model"):
        log.promote_by_hand("m9", noon, WHO, "because")


def test_a_decision_against_another_champion_is_stale(log: ReleaseLog, passing: Passing, noon: datetime) -> None:
    promote(log, passing, "m1", "m2")
    for stale in (passing("m1"), passing()):
        with pytest.raises(ReleaseError, match="judged against another champion"):
            log.promote("m3", {}, stale, noon, WHO)


def test_a_time_without_a_zone_is_an_error(log: ReleaseLog, passing: Passing) -> None:
    with pytest.raises(ReleaseError, match="time zone"):
        log.promote("m1", {}, passing(), datetime(2026, 1, 1), WHO)


def test_the_log_wins_over_a_pointer_that_a_crash_left_behind(
    log: ReleaseLog, passing: Passing, tmp_path: Path
) -> None:
    promote(log, passing, "m1")
    behind = (tmp_path / "releases/champion.json").read_bytes()
    promote(log, passing, "m2")
    (tmp_path / "releases/champion.json").write_bytes(behind)
    assert live(log) == "m2"
    (tmp_path / "releases/champion.json").unlink()
    assert live(log) == "m2"
    promote(log, passing, "m2")  # the same command once more
    assert json.loads((tmp_path / "releases/champion.json").read_text())["champion"]["model_version"] == "m2"
    promote(log, passing, "m3")
    assert json.loads((tmp_path / "releases/champion.json").read_text())["champion"]["model_version"] == "m3"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "000002.json").unlink(), "release 2 is missing"),
        (lambda folder: (folder / "000003.json").unlink(), "release 3 is missing"),
        (lambda folder: (folder / "000002.json").write_text("{"), "000002.json cannot be read"),
        (lambda folder: _edit(folder / "000001.json"), "release 1 was changed"),
        (lambda folder: _edit(folder / "000003.json"), "release 3 was changed"),
    ],
)
def test_a_damaged_log_says_which_file_and_what_to_do(
    log: ReleaseLog, passing: Passing, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    promote(log, passing, "m1", "m2", "m3")
    damage(tmp_path / "releases")
    with pytest.raises(ReleaseError, match=said) as caught:
        log.champion()
    assert caught.value.fix is not None and "backup" in caught.value.fix
    with pytest.raises(ReleaseError, match=said):
        promote(log, passing, "m4")


def _edit(file: Path) -> None:
    file.write_text(file.read_text().replace(WHO, "eve"))


def _compete(task: tuple[str, int]) -> str:
    folder, number = task
    gate = Gate("support", "overall", 100, 100, None, 50, None, True, "enough")
    decision = ReleaseDecision(passed=True, first=False, against="m0", gates=(gate,))
    try:
        ReleaseLog(LocalBlobs(Path(folder))).promote(f"new-{number}", {}, decision, datetime.now(UTC), WHO)
    except ReleaseError as error:
        return error.what
    return "won"


def test_of_releases_at_the_same_moment_exactly_one_wins(log: ReleaseLog, passing: Passing, tmp_path: Path) -> None:
    promote(log, passing, "m0")
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(_compete, [(str(tmp_path), number) for number in range(12)]))
    assert results.count("won") == 1
    assert all("judged against another champion" in result for result in results if result != "won")
    assert [event.number for event in log.events()] == [1, 2]


class _Overtaken(LocalBlobs):
    """A storage in which somebody else takes the next number first, once."""

    def __init__(self, root: Path, overtake: Callable[[], None]) -> None:
        super().__init__(root)
        self.overtake: Callable[[], None] | None = overtake

    def create(self, key: str, data: bytes) -> bool:
        if self.overtake is not None:
            overtake, self.overtake = self.overtake, None
            overtake()
        return super().create(key, data)


def test_a_refusal_that_comes_between_does_not_stop_a_release(
    log: ReleaseLog, passing: Passing, refusing: ReleaseDecision, noon: datetime, tmp_path: Path
) -> None:
    between = ReleaseLog(_Overtaken(tmp_path, lambda: log.refuse("m2", {}, refusing, noon, "bob") and None))
    between.promote("m1", {}, passing(), noon, WHO)
    assert [(event.action, event.model_version) for event in log.events()] == [("refuse", "m2"), ("promote", "m1")]


def test_a_rollback_that_is_overtaken_by_a_release_is_an_error(
    log: ReleaseLog, passing: Passing, noon: datetime, tmp_path: Path
) -> None:
    promote(log, passing, "m1", "m2")
    between = ReleaseLog(_Overtaken(tmp_path, lambda: promote(log, passing, "m3")))
    with pytest.raises(ReleaseError, match="at the same moment"):
        between.rollback(noon, WHO, "complaints")
    assert live(log) == "m3"
