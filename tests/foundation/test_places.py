"""Soft tokens anywhere in a prompt: where marks cut it, and that a row's order is what the model reads."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation.places import Place, laid, places_of

from .test_prompts import QUESTION, speaking

IMAGE, SIGNAL = Place("image"), Place("signal")
CANDIDATES = ["yes", "no", "no opacity in the left lung"]
FORMATS = ["plain", "chat", "published"]


def cut(prompt: str, *modalities: str, known=("image", "signal", "clinical")):
    return laid(prompt, places_of(modalities, {}), known, "lung")


def test_a_prompt_is_cut_at_its_marks():
    assert cut("Is it high?", "image") == ("Is it high?",)
    assert cut("", "image") == ("",)
    assert cut("a <image> b", "image") == ("a ", IMAGE, " b")
    assert cut("<image>", "image") == (IMAGE,)
    assert cut("<image><signal>x<image 1>", "image", "signal") == (IMAGE, SIGNAL, "x", IMAGE)


def test_what_is_no_mark_stays_text():
    for text in ("pH <7.2 and <b>", "<Image>", "<image2>", "<image  2>", "</image>", "<unk> < image>"):
        assert cut(text, "image") == (text,)
    assert cut("<a.b>", "a.b", known=()) == (Place("a.b"),)
    assert cut("<axb>", "a.b", known=()) == ("<axb>",)
    assert cut("<image>", known=()) == ("<image>",)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("<signal> x", r"task .lung. places <signal>, but the task has no modality .signal.; what it can.*: <image>"),
        ("<image 2> x", r"places <image 2>, but a sample has at most 1 of that modality; what it can place: <image>"),
        ("<image> <image 0>", r"places <image 0>, but a sample has at most 1"),
    ],
)  # fmt: skip
def test_a_mark_that_cannot_be_filled_is_one_sentence(prompt, sentence):
    with pytest.raises(InputError, match=sentence):
        cut(prompt, "image")


def written_out(language, row, answer):
    """Log-likelihood of an answer after segments, by one plain pass; the last text carries what follows it."""
    ids = lambda text: torch.tensor(language.tokenizer(text, add_special_tokens=False)["input_ids"]).long()  # noqa: E731
    table = language.model.get_input_embeddings()
    target = ids(answer)
    parts = [table(ids(part)) if isinstance(part, str) else part for part in row]
    with torch.no_grad():
        logits = language.model(inputs_embeds=torch.cat([*parts, table(target)]).unsqueeze(0)).logits[0]
    each = functional.log_softmax(logits[-len(target) - 1 : -1], dim=-1)
    return float(each[torch.arange(len(target)), target].sum())


ROWS = {
    "plain": lambda a, b: ["<bos>", "see ", a, " and ", b, "high ?", " yes<eos>"],
    "chat": lambda a, b: [
        "<|im_start|>user\nsee ", a, " and ", b, "high ?<|im_end|>\n<|im_start|>assistant\n", "yes<|im_end|>",
    ],
    "published": lambda a, b: [
        "<bos>", "### Human: see <Img>", a, "</Img> and <Img>", b, "</Img>high ?\n### Assistant: ", "yes\n###",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_loss_and_scores_of_interleaved_rows_are_those_of_the_written_out_sequence(name):
    language = speaking(name)
    a, b = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(1))
    *row, answer = ROWS[name](a, b[:2])
    expected = written_out(language, row, answer)
    asked = [["see ", a, " and ", b[:2], "high ?"]]
    losses, _ = language.answer_losses(None, None, asked, ["yes"])
    assert float(losses.detach()) == pytest.approx(-expected, abs=1e-3)
    assert float(language.score(None, None, asked, ["yes"])) == pytest.approx(expected, abs=1e-3)


def test_soft_tokens_that_come_first_stand_before_those_with_a_place():
    language = speaking("published")
    a, b = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(1))
    row = ["<bos>", "### Human: <Img>", a, "</Img> see <Img>", b, "</Img>high ?\n### Assistant: "]
    found = language.score(a.unsqueeze(0), None, [["see ", b, "high ?"]], ["yes"])
    assert float(found) == pytest.approx(written_out(language, row, "yes\n###"), abs=1e-3)


@pytest.mark.parametrize("name", FORMATS)
def test_soft_tokens_then_text_are_the_same_bits_as_soft_tokens_first(name, batch):
    language = speaking(name)
    soft, mask, prompts, answers = batch
    gap = language.format.gap
    rows = [[own[real], gap + prompt] for own, real, prompt in zip(soft, mask, prompts, strict=True)]
    assert torch.equal(language.score(soft, mask, prompts, answers), language.score(None, None, rows, answers))
    for one, other in zip(
        language.answer_losses(soft, mask, prompts, answers), language.answer_losses(None, None, rows, answers),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(one, other)
    assert language.generate(soft, mask, prompts, 6) == language.generate(None, None, rows, 6)


def interleaved(batch):
    """Rows of different shapes: two places, one in the middle, none at all, one at the end."""
    soft, mask, prompts, answers = batch
    rows = [
        [soft[0], "is there ", soft[1, :2], " an opacity ?"],
        ["fever ", soft[1][mask[1]], " ? Answer :"],
        prompts[2],
        ["has the patient a cough ?", soft[2]],
    ]
    return rows, [*answers, "no"]


@pytest.mark.parametrize("cache", [True, False])
def test_company_changes_no_answer_of_interleaved_rows(language, batch, cache):
    rows, answers = interleaved(batch)
    together = language.score(None, None, rows, CANDIDATES, cache=cache)
    texts = language.generate(None, None, rows, 6, cache=cache)
    losses, _ = language.answer_losses(None, None, rows, answers)
    said, scores = language.answer(None, None, rows, CANDIDATES, 6)
    assert said == texts
    torch.testing.assert_close(scores, together, atol=1e-4, rtol=1e-4)
    for i, row in enumerate(rows):
        alone = language.score(None, None, [row], CANDIDATES, cache=cache)
        torch.testing.assert_close(alone, together[i : i + 1], atol=1e-4, rtol=1e-4)
        assert language.generate(None, None, [row], 6, cache=cache) == [texts[i]]
        own, _ = language.answer_losses(None, None, [row], [answers[i]])
        torch.testing.assert_close(own, losses[i : i + 1], atol=1e-4, rtol=1e-4)


def test_bos_comes_once_and_first(language, batch):
    rows, _ = interleaved(batch)
    piece, _ = language._before(None, None, rows)
    bos = language.embed(torch.tensor([1]))[0]
    starts = (piece.embeddings == bos).all(dim=-1) & piece.mask
    wanted = 1 if language.tokenizer("a")["input_ids"][0] == 1 else 0
    assert starts.sum(dim=1).tolist() == [wanted] * len(rows)
    assert starts[:, 0].tolist() == [bool(wanted)] * len(rows)


def test_where_soft_tokens_stand_changes_the_answer(language, batch):
    soft = batch[0][0]
    words = ("is there an opacity", " in the left lung ? Answer :")
    rows = [[soft, *words], [words[0], soft, words[1]], [*words, soft]]
    scores = language.score(None, None, rows, ["no", "yes"])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (scores[i] - scores[j]).abs().max() > 1e-3


def test_gradients_reach_soft_tokens_wherever_they_stand(language, batch):
    leaf = batch[0].clone().requires_grad_()
    rows = [[leaf[0], "is there"], ["fever ", leaf[1], " ?"], ["cough ", leaf[2], " or ", leaf[2, :2]]]
    losses, _ = language.answer_losses(None, None, rows, ["yes", "no", "no"])
    losses.sum().backward()
    assert (leaf.grad.abs().sum(dim=-1) > 0).all()


def test_a_place_without_tokens_leaves_the_words_around_it(language):
    nothing = torch.zeros(0, 32)
    empty = language.score(None, None, [["is there ", nothing, "an opacity ?"]], CANDIDATES)
    torch.testing.assert_close(empty, language.score(None, None, ["is there an opacity ?"], CANDIDATES))


def test_published_marks_stay_where_nothing_was_placed():
    language = speaking("published")
    row = ["<bos>", "### Human: see <Img>", "</Img>high ?\n### Assistant: "]
    found = language.score(None, None, [["see ", torch.zeros(0, 32), "high ?"]], ["yes"])
    assert float(found) == pytest.approx(written_out(language, row, "yes\n###"), abs=1e-3)


def test_soft_tokens_of_another_width_are_refused():
    with pytest.raises(ValueError, match="do not fit the hidden size 32"):
        speaking("plain").score(None, None, [[torch.zeros(2, 16), QUESTION]], ["yes"])


def test_a_row_that_is_too_long_names_the_remedy(make_language):
    with pytest.raises(InputError, match=r"64 positions.*stage\.latents"):
        make_language("llama").score(None, None, [["fever ", torch.zeros(80, 32)]], ["no"])


def test_an_answer_after_soft_tokens_continues_the_last_words():
    language = speaking("plain")
    nothing = torch.zeros(0, 32)
    at_the_end = language.score(None, None, [[QUESTION, nothing]], ["yes", "no"])
    torch.testing.assert_close(at_the_end, language.score(None, None, [QUESTION], ["yes", "no"]))
