"""Claims of a board: read from their text, refused in a sentence with the line they stand on."""

import pytest
from board_fakes import board

from fedmeki_bench.boards.claims import Claim, claim_of
from fedmeki_bench.boards.loading import load_board
from fedmeki_bench.errors import InputError

BOARD = """name: toy
profile: demo
seeds: [0]
tasks: [ecg_abnormal, lung_opacity]
algorithms: [majority, fedavg_s, fedprox_s]
claims:
  - fedprox_s > fedavg_s
  - {claim}
"""


def test_claims_are_read():
    """Rows, direction, tolerance and task."""
    assert claim_of("scaffold_m > fedavg_m") == Claim("scaffold_m > fedavg_m", "scaffold_m", "fedavg_m")
    assert claim_of("kim >= central - 0.02 on ecg_abnormal") == Claim(
        "kim >= central - 0.02 on ecg_abnormal", "kim", "central", -0.02, strict=False, task="ecg_abnormal"
    )
    assert claim_of("a  >  b + 1e-2").offset == 0.01
    assert claim_of({"best": "scaffold_m"}).best


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ("fedprox_s beats fedavg_s", "is no claim: write one as in"),
        ("fedprox_s < fedavg_s", "is no claim"),
        ("best: fedpro_s", "'fedpro_s' of the claim .* not among the rows; did you mean 'fedprox_s'"),
        ("fedprox_s > fedavg_s on ecg", "'ecg' of the claim .* is no task"),
        ("fedprox_s > fedprox_s", "compares a row with itself"),
    ],
)
def test_what_is_no_claim_is_refused_with_its_line(tmp_path, claim, said):
    """One sentence: the file, the line, and what to write instead."""
    path = tmp_path / "toy.yaml"
    path.write_text(BOARD.format(claim=claim))
    with pytest.raises(InputError, match=rf"toy.yaml:8: .*{said}"):
        load_board(path)


def test_a_board_without_claims_says_nothing_of_them():
    """So pages of boards that have none keep their bytes."""
    assert not {"claims", "judgement", "analysis"} & set(board().model_dump())
