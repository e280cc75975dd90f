"""Where data lie that were prepared otherwise, and where those are that know nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmeki_bench.data.preparations import folder_of, folders_of, in_words, known_to, place_of

DATA = Path("data")


def test_a_folder_is_called_by_its_options_in_one_order():
    both = (("split_seed", 43), ("image_size", 96))
    assert folder_of(DATA, both) == folder_of(DATA, both[::-1]) == DATA / "@image_size=96,split_seed=43"
    assert folder_of(DATA, (("join_duplicates", False),)) == DATA / "@join_duplicates=false"
    assert folder_of(DATA, ()) == DATA
    assert in_words(both) == "split_seed 43, image_size 96"


@pytest.mark.parametrize(
    ("folder", "dataset", "there"),
    [
        ("@image_size=96,split_seed=43", "rsna", "@image_size=96,split_seed=43"),
        ("@image_size=96,split_seed=43", "ptbxl", "@split_seed=43"),
        ("@image_size=96", "ptbxl", "."),
        ("@image_size=96,split_seed=43", "somebody's", "@split_seed=43"),  # what every dataset has
        (".", "rsna", "."),
    ],
)
def test_a_dataset_lies_where_what_it_knows_says(folder, dataset, there):
    assert place_of(DATA / folder, dataset) == DATA / there


def test_options_that_no_dataset_has_are_left_out():
    both = (("image_size", 96), ("split_seed", 43))
    assert known_to(["ptbxl"], both) == (("split_seed", 43),)
    assert known_to(["ptbxl", "rsna"], both) == both


def test_preparations_of_a_folder_are_found_in_order(tmp_path):
    for name in ("@b=1", "@a=1", "ecg_abnormal"):
        (tmp_path / name).mkdir()
    assert [path.name for path in folders_of(tmp_path)[1:]] == ["@a=1", "@b=1"]
