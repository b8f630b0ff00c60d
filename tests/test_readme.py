"""The README stays short, and what it names exists."""

import importlib
import re
from pathlib import Path

import pytest

from genjax_art import parts, verbs
from genjax_art.build import load_preset, preset_names

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "genjax_art/README.md", "genjax_art/benchmark/README.md")
VERBS = set(parts.names(verbs, "draw"))


def words_after(script, text=TEXT):
    """The words of every mention of a script's command line, in code blocks or in line."""
    return [line.split() for line in re.findall(rf"python {script}\.py([^`#\n]*)", text)]


def presets_in(text):
    return [words[0] for words in words_after("train", text) if words and words[0][:1].islower()]


def test_it_is_a_door():
    assert len(TEXT.encode()) < 9_400


def test_every_preset_is_in_the_table_with_its_data():
    section = TEXT.partition("## Presets")[2].partition("## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    data = {name: cells[2] for cells in rows for name in re.findall(r"`(.*?)`", cells[0])}
    assert sorted(data) == sorted(preset_names())
    assert all(cell in (f"`{load_preset(name).data.name}`", "generated") for name, cell in data.items()), data


@pytest.mark.parametrize("page", PAGES)
def test_presets_and_verbs_that_commands_name_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert set(presets_in(text)) <= set(preset_names())
    assert {words[1] for words in words_after("sample", text) if words} <= {*VERBS, "VERB"}


def test_the_readme_shows_each_command():
    assert presets_in(TEXT) and [] in words_after("train")
    table = TEXT.partition("RUN VERB --help")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)", table, re.MULTILINE)) == VERBS


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_links_to_exist(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_says_what_it_costs_and_how_it_is_started(name):
    doc = importlib.import_module(f"genjax_art.presets.{name.replace('-', '_')}").__doc__
    assert "\nCost: " in doc and doc.endswith(f"\npython train.py {name}\n")
