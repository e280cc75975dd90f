"""A language model's losses, scores and answers: against a written-out reference, alone and in company."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation.build import build, load
from fedmeki_bench.foundation.language import Language


def one(batch, i):
    soft, mask, prompts, answers = batch
    return soft[i : i + 1], mask[i : i + 1], prompts[i : i + 1], answers[i : i + 1]


def reference_log_likelihood(language, soft, mask, prompt, answer):
    """Plain and slow: one unpadded row through the model, log-softmax of every answer token."""
    bos = [1] if language.tokenizer("a")["input_ids"][0] == 1 else []
    words = lambda text: language.tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    table = language.model.get_input_embeddings()
    target = [*words(answer), language.tokenizer.eos_token_id]
    row = torch.cat([table(torch.tensor(bos).long()), soft[mask], table(torch.tensor(words(prompt) + target))])
    logits = language.model(inputs_embeds=row.unsqueeze(0)).logits[0]
    places = range(len(row) - len(target) - 1, len(row) - 1)
    return torch.stack([functional.log_softmax(logits[p], dim=-1)[t] for p, t in zip(places, target, strict=True)])


def mean_loss(language, *batch):
    """Over the tokens of all answers."""
    sums, counts = language.answer_losses(*batch)
    return sums.sum() / counts.sum()


def test_the_base_model_is_frozen_and_in_eval_mode(language):
    assert not any(p.requires_grad for p in language.model.parameters())
    assert not any(m.training for m in language.model.modules())
    assert language.hidden_size == 32


def test_answer_loss_equals_the_written_out_one(language, batch):
    soft, mask, prompts, answers = batch
    with torch.no_grad():
        rows = [reference_log_likelihood(language, s, m, p, a) for s, m, p, a in zip(*batch, strict=True)]
        expected = -torch.cat(rows).mean()
        assert mean_loss(language, soft, mask, prompts, answers) == pytest.approx(float(expected), abs=1e-5)
        sums, counts = language.answer_losses(soft, mask, prompts, answers)
    assert counts.tolist() == [2, 3, 4]
    assert sums.tolist() == pytest.approx([-float(r.sum()) for r in rows], abs=1e-4)


@pytest.mark.parametrize("cache", [True, False])
def test_score_is_the_log_likelihood_of_answer_and_eos(language, batch, cache):
    soft, mask, prompts, _ = batch
    candidates = ["yes", "no", "no opacity in the left lung"]
    scores = language.score(soft, mask, prompts, candidates, cache=cache)
    with torch.no_grad():
        expected = torch.tensor(
            [
                [float(reference_log_likelihood(language, s, m, p, c).sum()) for c in candidates]
                for s, m, p in zip(soft, mask, prompts, strict=True)
            ]
        )
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)


def test_company_changes_no_answer(language, batch):
    soft, mask, prompts, answers = batch
    together = language.score(soft, mask, prompts, answers)
    texts = language.generate(soft, mask, prompts, 6)
    losses, _ = language.answer_losses(soft, mask, prompts, answers)
    for i in range(3):
        s, m, p, a = one(batch, i)
        torch.testing.assert_close(language.score(s, m, p, answers), together[i : i + 1], atol=1e-4, rtol=1e-4)
        assert language.generate(s, m, p, 6) == [texts[i]]
        torch.testing.assert_close(language.answer_losses(s, m, p, a)[0], losses[i : i + 1], atol=1e-4, rtol=1e-4)


def test_generation_with_and_without_cache_agree_and_repeat(language, batch):
    soft, mask, prompts, _ = batch
    texts = language.generate(soft, mask, prompts, 8)
    assert texts == language.generate(soft, mask, prompts, 8, cache=False)
    assert texts == language.generate(soft, mask, prompts, 8)
    assert any(texts)


def test_generation_agrees_with_transformers_own(language):
    prompt = "has the patient fever ? Answer :"
    ids = language.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    theirs = language.model.generate(**ids, max_new_tokens=8, do_sample=False, pad_token_id=2)
    said = language.tokenizer.decode(theirs[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    assert language.generate(None, None, [prompt], 8) == [said]


def test_generation_stops_at_any_of_the_models_stop_tokens(make_language):
    prompts = ["fever ? Answer :", "is there an opacity in the left lung ? Answer :"]
    language = make_language("llama")
    said = [language.tokens(text) for text in language.generate(None, None, prompts, 6)]
    stop = max(said, key=len)[2]
    language.model.generation_config.eos_token_id = [2, stop]
    again = Language(language.model, language.tokenizer)
    cut = [ids[: ids.index(stop)] if stop in ids else ids for ids in said]
    assert [again.tokens(text) for text in again.generate(None, None, prompts, 6)] == cut


def test_soft_tokens_may_be_absent(language, batch):
    _, _, prompts, answers = batch
    none = mean_loss(language, None, None, prompts, answers)
    empty = mean_loss(language, torch.zeros(3, 0, 32), torch.zeros(3, 0), prompts, answers)
    masked = mean_loss(language, torch.randn(3, 2, 32), torch.zeros(3, 2), prompts, answers)
    torch.testing.assert_close(none, empty)
    torch.testing.assert_close(none, masked, atol=1e-5, rtol=1e-5)


def test_gradients_reach_the_soft_tokens_that_are_there(language, batch):
    soft, mask, prompts, answers = batch
    soft = soft.clone().requires_grad_()
    mean_loss(language, soft, mask, prompts, answers).backward()
    moved = soft.grad.abs().sum(dim=-1) > 0
    assert torch.equal(moved, mask)


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_checkpointing_changes_nothing(make_language, batch, architecture):
    soft, mask, prompts, answers = batch
    results = []
    for checkpointing in (False, True):
        language = make_language(architecture, checkpointing=checkpointing)
        leaf = soft.clone().requires_grad_()
        loss = mean_loss(language, leaf, mask, prompts, answers)
        loss.backward()
        assert not any(m.training for m in language.model.modules())
        assert language.generate(soft, mask, prompts, 4) == language.generate(soft, mask, prompts, 4, cache=False)
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1])


def test_repeated_prompts_are_tokenised_once(make_language):
    language = make_language("llama")
    calls = []
    inner = language.tokenizer
    language.tokenizer = lambda text, **options: calls.append(text) or inner(text, **options)
    for _ in range(3):
        language.tokens("is there fever ?")
    assert calls == ["is there fever ?"]


def test_a_row_that_is_too_long_is_told(make_language):
    language = make_language("llama")
    with pytest.raises(InputError, match="64 positions"):
        mean_loss(language, torch.zeros(1, 80, 32), None, ["fever ?"], ["no"])


def test_shapes_that_do_not_fit_are_told(make_language):
    with pytest.raises(ValueError, match="do not fit"):
        make_language("llama").answer_losses(torch.zeros(2, 3, 16), None, ["fever ?"], ["no"])


def test_a_saved_model_loads_and_an_unknown_one_is_an_input_error(make_language, batch, tmp_path, capfd):
    soft, mask, prompts, answers = batch
    language = make_language("mistral")
    language.model.save_pretrained(tmp_path / "m")
    language.tokenizer.save_pretrained(tmp_path / "m")
    capfd.readouterr()
    again = build(tmp_path / "m")
    assert capfd.readouterr() == ("", "")
    assert torch.equal(again.score(soft, mask, prompts, answers), language.score(soft, mask, prompts, answers))
    with pytest.raises(InputError, match="no-such-model") as caught:
        load(tmp_path / "no-such-model")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        build("someone/no-such-model")


def test_embedding_rms_is_the_tables_typical_size(make_language):
    assert make_language("llama").embedding_rms == pytest.approx(0.3, rel=0.15)


def test_embedding_rms_counts_what_a_model_multiplies_its_table_by(make_language):
    language = make_language("gemma3_text")
    table = language.model.get_input_embeddings().weight
    read = []
    language.model.model.layers[0].register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    language.model(input_ids=torch.arange(40).unsqueeze(0))
    assert language.embedding_rms == pytest.approx(float(read[0].square().mean(-1).sqrt().median()))
    assert language.embedding_rms > 4 * float(table.square().mean(1).sqrt().median())


def test_answering_reads_the_prompt_once_and_says_the_same(language, batch):
    soft, mask, prompts, _ = batch
    said, scores = language.answer(soft, mask, prompts, ["no", "yes"], 5)
    assert said == language.generate(soft, mask, prompts, 5)
    assert torch.equal(scores, language.score(soft, mask, prompts, ["no", "yes"]))
