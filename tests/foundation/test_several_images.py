"""Samples with several arrays, or none, before the foundation model: each array has tokens of its own."""

from __future__ import annotations

import pytest
import torch

from fedmeki_bench.conformance.paired_toys import EITHER, Either, paired_cohort
from fedmeki_bench.conformance.worlds import build
from fedmeki_bench.errors import InputError
from fedmeki_bench.federation.rule import Rule
from fedmeki_bench.foundation.choices import AdapterChoice
from fedmeki_bench.foundation.injected import Injected
from fedmeki_bench.foundation.places import Place, check_marks

TASK = EITHER.meta.name
PROMPT = "is there an opacity in the left lung ? Answer :"


@pytest.fixture
def told(make_language):
    """A model, F around it, and samples with two pictures, with one and a signal, and with a signal alone."""
    model = build(Rule(), (TASK,)).model.eval()
    part = paired_cohort().part("client")
    counts = part.cohort.samples()[["image_count", "signal_count"]].to_numpy()[part.rows]
    rows = [
        next(k for k, found in enumerate(counts.tolist()) if found == wanted) for wanted in ([2, 0], [1, 1], [0, 1])
    ]
    injected = Injected(make_language("llama"), model, AdapterChoice(), seed=0, latents=2)
    return injected.eval(), model, part.take(rows)


def inputs(model, part):
    return model.to_inputs(part.batch(range(len(part))))


def answers(injected, model, part, prompt=PROMPT):
    with torch.no_grad():
        soft, there, asked = injected.ask(model, EITHER, inputs(model, part), [prompt] * len(part))
        return injected.language.answer_losses(soft, there, asked, ["yes"] * len(part))[0]


def test_every_array_has_tokens_of_its_own(told):
    injected, model, part = told
    with torch.no_grad():
        pieces = injected._pieces(model, EITHER.meta.arrays, inputs(model, part))
    assert list(pieces) == [Place("image"), Place("image", 2), Place("signal")]
    there = [[bool(piece.mask[row].all()) for piece in pieces.values()] for row in range(3)]
    assert there == [[True, True, False], [True, False, True], [False, False, True]]
    assert all(piece.embeddings.shape == (3, 2, 32) for piece in pieces.values())
    with torch.no_grad():
        _, mask, asked = injected.ask(model, EITHER, inputs(model, part), [PROMPT] * 3)
    assert mask.sum(dim=1).tolist() == [4, 4, 2]
    assert asked == [PROMPT] * 3


@pytest.mark.parametrize("prompt", [PROMPT, "<image> left <image 2> right <signal> fever ? Answer :"])
def test_company_changes_no_answer(told, prompt):
    injected, model, part = told
    together = answers(injected, model, part, prompt)
    alone = torch.cat([answers(injected, model, part.take([row]), prompt) for row in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_second_picture_is_read_and_an_absent_one_says_nothing(told):
    injected, model, part = told
    both = "<image> left <image 2> right ? Answer :"
    first, one, none = answers(injected, model, part, both)
    swapped = part.batch([0])
    swapped["image"] = swapped["image"][:, ::-1].copy()
    with torch.no_grad():
        soft, there, asked = injected.ask(model, EITHER, model.to_inputs(swapped), [both])
        assert not torch.allclose(injected.language.answer_losses(soft, there, asked, ["yes"])[0], first)
    # where nothing is, the words around it stand alone
    only = answers(injected, model, part, "<image> left  right ? Answer :")
    torch.testing.assert_close(only[1], one, rtol=1e-4, atol=1e-5)
    bare = injected.in_words(EITHER, ["<image> left <image 2> right ? Answer :"], part.cohort.many)
    assert [str(p) for p in bare[0] if isinstance(p, str)] == [" left ", " right ? Answer :"]
    assert torch.isfinite(none)


def test_a_batch_without_any_array_of_a_modality_is_no_problem(told):
    injected, model, part = told
    assert torch.isfinite(answers(injected, model, part.take([2]))).all()
    assert torch.isfinite(answers(injected, model, part.take([0]))).all()


def test_marks_are_checked_against_how_many_there_can_be():
    class Third(Either):
        def prompt(self, question):
            return f"<image 3> {question}"

    with pytest.raises(InputError, match="places <image 3>, but a sample has at most 2 of that modality"):
        check_marks(Third(), ["x"], (), paired_cohort().many)
    check_marks(Either(), ["<image 2> x"], (), paired_cohort().many)
