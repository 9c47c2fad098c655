"""The page: opens offline, invents nothing, survives any feed's text and any size of market."""

import base64
import hashlib
import itertools
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sortiment.errors import StorageError
from sortiment.report.html import render_page, render_report
from sortiment.report.page_rows import NOTHING_RECORDED, SECTIONS

ReportOf = Callable[..., dict[str, Any]]
MINIMAL = {"market": {"name": "A market", "synthetic": False}}
CHROMIUM = shutil.which("chromium")


class Page(HTMLParser):
    """The elements of a page, its ids, links and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def text(full_page: str) -> str:
    return full_page


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def section_of(text: str, name: str) -> str:
    match = re.search(rf'<section id="{name}">(.*?)</section>', text, flags=re.DOTALL)
    assert match is not None, name
    return match.group(1)


def test_every_section_is_there_and_in_the_navigation(page: Page) -> None:
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == list(SECTIONS)
    assert [link["href"] for link in page.all("a")][1:] == [f"#{name}" for name in SECTIONS]


def test_the_page_asks_for_nothing_from_outside(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base"), tag
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    policy = next(one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy


def test_only_the_pages_own_script_may_run(page: Page, text: str) -> None:
    assert len(page.scripts) == 1
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in text or f"script-src 'sha256-{digest}'" in text
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]


def test_titles_from_feeds_are_shown_and_never_run(text: str, hostile: str) -> None:
    assert hostile.startswith("<script>alert")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#39;title&#39;)&lt;/script&gt;" in text


def test_hostile_names_everywhere_stay_text(report_of: ReportOf) -> None:
    full = report_of(departments=3, categories=20)
    report = {name: full[name] for name in ("market", "quarantine", "speed", "ranking")}
    attack = "</title></svg></style><script>alert(1)</script><img src=x onerror=alert(1)>"
    report["market"]["name"] = report["market"]["feeds"][0]["name"] = attack
    report["quarantine"]["by_reason"] = {attack: 3}
    report["speed"][0]["engine"] = report["ranking"][0]["encoder"] = attack
    report["settings"] = {attack: attack}
    report["not_done"] = [{"what": attack, "why": attack, "command": attack}]
    page = Page(render_page(report))
    assert len(page.scripts) == 1
    assert not page.all("img")


def test_ids_are_unique_and_headings_step_by_one(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert [one for one, count in Counter(ids).items() if count > 1] == []
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


def test_table_heads_have_a_scope_and_scrolling_parts_take_the_keyboard(page: Page) -> None:
    assert all(attributes.get("scope") for attributes in page.all("th"))
    for attributes in page.all("div"):
        if attributes.get("class") in ("scroll", "canvas"):
            assert attributes.get("tabindex") == "0"
            assert attributes.get("aria-label")


def test_figures_come_from_the_report(text: str) -> None:
    for expected in ("98.7% of the teacher&#39;s 0.862", "1,910", "$0.0148", "92.4%", "Release 3", "4 min 41 s"):
        assert expected in text
    assert "Nothing else: 71 judged partitions were left alone." in text
    assert "412 labels look wrong. 1,021 training offers are not learned: they repeat what" in text


def test_a_synthetic_market_says_so_and_a_real_one_does_not(text: str) -> None:
    assert "SYNTHETIC MARKET" in text
    assert "SYNTHETIC MARKET" not in render_page(MINIMAL)


def test_an_empty_report_says_not_done_everywhere_and_invents_nothing() -> None:
    text = render_page(MINIMAL)
    for name in set(SECTIONS) - {"data", "not_done"}:
        assert "Not done." in section_of(text, name), name
        assert NOTHING_RECORDED in section_of(text, name), name
    assert not re.findall(r"\d\.\d{3}\b", re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL))


def test_a_missing_section_gives_its_reason_and_command() -> None:
    gap = {"what": "Drift", "why": "the second feed is missing", "command": "sortiment demo", "section": "drift"}
    drift = section_of(render_page({**MINIMAL, "not_done": [gap]}), "drift")
    assert "the second feed is missing" in drift
    assert "<code>sortiment demo</code>" in drift


def test_feed_files_that_were_left_out_are_named() -> None:
    row = {"source_file": "day-2.parquet", "feed": "shop", "problem": "it is <cut> off", "kept": True}
    text = section_of(render_page({**MINIMAL, "quarantine": {"rows": 0, "left_out": [row]}}), "quarantine")
    assert "1 feed file cannot be read and was left out." in text
    for expected in ("day-2.parquet", "it is &lt;cut&gt; off", "what it held before"):
        assert expected in text


def test_no_broken_row_is_good_news_not_a_gap() -> None:
    text = render_page({**MINIMAL, "quarantine": {"rows": 0, "read": 1234}})
    assert "No row broke the feed contract: all 1,234 rows were loaded." in section_of(text, "quarantine")


def test_relabelling_more_than_drifted_is_called_out(report_of: ReportOf) -> None:
    report = {**MINIMAL, "drift": report_of(countries=2, departments=2, categories=10)["drift"]}
    report["drift"]["partitions_relabelled"].append("AT|electronics")
    drift = section_of(render_page(report), "drift")
    assert "re-labelled without having drifted" in drift
    assert "Nothing else" not in drift


def test_measured_published_and_estimated_have_their_own_column(text: str) -> None:
    cost = section_of(text, "cost")
    assert {"measured", "published", "estimated"} <= set(re.findall(r'<span class="pill (\w+)">', cost))


@pytest.mark.parametrize(
    ("countries", "departments", "categories"), [(2, 60, 3_000), (1, 1, 1)], ids=["large", "one of each"]
)
def test_markets_of_any_size_can_be_shown(
    countries: int, departments: int, categories: int, tmp_path: Path, report_of: ReportOf
) -> None:
    out = tmp_path / "report.html"
    render_report(report_of(countries, departments, categories), out)
    assert 50_000 < out.stat().st_size < 1_500_000
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_report_of_the_wrong_form_names_the_key(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    with pytest.raises(StorageError, match=r"cost\.rows\.0\.basis"):
        render_report({**MINIMAL, "cost": {"rows": [{"instance": "c7i", "basis": "guessed"}]}}, out)
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium, which is not installed")
def test_in_a_browser_the_tables_sort_and_the_theme_button_shows(text: str, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    file = tmp_path / "report.html"
    file.write_text(text, encoding="utf-8")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                 "--disable-background-networking", "--disable-component-update"]  # fmt: skip
    done = subprocess.run(
        [CHROMIUM, *arguments, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    shown: dict[str, Any] = {tag: Page(done.stdout).all(tag) for tag in ("button", "svg")}
    assert len(shown["svg"]) == text.count("<svg")
    assert len(shown["button"]) > 30
    assert "hidden" not in next(one for one in shown["button"] if one.get("class") == "theme")
