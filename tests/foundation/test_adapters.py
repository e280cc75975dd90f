"""Golden equalities of LoRA and M3OE: one expert = LoRA, B = 0 is nothing, merged = unmerged, the base untouched."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation.adapters import Adapters, _dropped
from fedmeki_bench.foundation.gate import Gate, UniformGate
from fedmeki_bench.foundation.projector import Projector
from tests.foundation.test_language import mean_loss

GATE = torch.tensor([0.5, 0.2, 0.3])


def warmed(language, *, experts=3, dtype=torch.float32, **options):
    """Adapters whose B is no longer 0."""
    adapters = Adapters(language, rank=2, experts=experts, seed=5, dtype=dtype, **options)
    stream = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for low in adapters.low_rank.values():
            low.B.copy_(torch.randn(low.B.shape, generator=stream) * 0.05)
    return adapters.eval()


def logits(language, prompt="is there an opacity in the left lung ?"):
    return language.model(input_ids=torch.tensor([language.tokens(prompt)])).logits


def bits(language):
    return {name: tensor.clone() for name, tensor in language.model.state_dict().items()}


def same_bits(before, language):
    now = language.model.state_dict()
    return before.keys() == now.keys() and all(torch.equal(t, now[n]) for n, t in before.items())


def test_every_linear_layer_and_the_head_are_adapted(language):
    adapters = Adapters(language, rank=2)
    linear = {name for name, module in language.model.named_modules() if isinstance(module, nn.Linear)}
    assert set(adapters.layers) == linear
    assert any("qkv" in n or "query_key_value" in n or "q_proj" in n for n in linear)


def test_targets_choose_kinds_of_layers(language):
    kinds = {kind: set(Adapters(language, targets=kind).layers) for kind in ("attention", "mlp", "head")}
    assert kinds["head"] == {"lm_head"}
    assert not kinds["attention"] & kinds["mlp"]
    assert set(Adapters(language).layers) == set.union(*kinds.values())
    assert all("attn" in n or "attention" in n for n in kinds["attention"])
    with pytest.raises(InputError, match="attention"):
        Adapters(language, targets="atention")


def test_b_zero_leaves_the_logits_unchanged_bit_for_bit(language):
    before = logits(language)
    adapters = Adapters(language, experts=4, rank=2)
    with adapters.gated(torch.full((4,), 0.25)):
        assert torch.equal(logits(language), before)


def test_detach_takes_the_adapters_off(language):
    before = logits(language)
    adapters = warmed(language, experts=1)
    assert not torch.equal(logits(language), before)
    adapters.detach()
    adapters.detach()
    assert torch.equal(logits(language), before)
    assert language.recompute == []


def test_one_expert_with_gate_one_is_lora_with_the_published_scale(make_language):
    """c = W h + alpha / r B A h, written out with the rank and alpha of the papers."""
    language = make_language("llama", dtype=torch.float64)
    layer = language.model.model.layers[0].mlp.up_proj
    h = torch.randn(2, 5, 32, dtype=torch.float64)
    base = layer(h)
    adapters = Adapters(language, rank=8, alpha=32, experts=1, dtype=torch.float64).eval()
    low = adapters.low_rank["model/layers/0/mlp/up_proj"]
    nn.init.normal_(low.B)
    expected = base + 4.0 * h @ low.A.T @ low.B.T
    torch.testing.assert_close(layer(h), expected)
    with adapters.gated(torch.ones(1)):
        assert torch.equal(layer(h), layer(h))
        torch.testing.assert_close(layer(h), expected)
    with adapters.gated(UniformGate(1)(torch.zeros(1, 32), torch.zeros(1, 32))):
        torch.testing.assert_close(layer(h), expected)


def test_the_fused_form_and_its_gradients_equal_the_sum_over_experts(make_language):
    language = make_language("llama", dtype=torch.float64)
    layer = language.model.model.layers[1].self_attn.q_proj
    adapters = warmed(language, dtype=torch.float64)
    h = torch.randn(3, 4, 32, dtype=torch.float64, requires_grad=True)
    alpha = GATE.double().requires_grad_()
    name = "model.layers.1.self_attn.q_proj"
    low = adapters.low_rank[name.replace(".", "/")]
    leaves = [h, alpha, low.A, low.B]
    with adapters.gated(alpha):
        fused = layer(h)
    written = h @ layer.weight.T
    for p in range(3):
        a, b = adapters.expert(name, p)
        written = written + adapters.alpha / adapters.rank * alpha[p] * (h @ a.T) @ b.T
    torch.testing.assert_close(fused, written, atol=1e-13, rtol=1e-13)
    weight = torch.randn_like(fused)
    ours = torch.autograd.grad((fused * weight).sum(), leaves)
    theirs = torch.autograd.grad((written * weight).sum(), leaves)
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, atol=1e-12, rtol=1e-12)


def test_merged_equals_unmerged_and_gives_the_bits_back(language, batch):
    soft, mask, prompts, answers = batch
    before = bits(language)
    adapters = warmed(language)
    with adapters.gated(GATE):
        unmerged = language.score(soft, mask, prompts, answers)
    with adapters.merged(GATE):
        merged = language.score(soft, mask, prompts, answers)
        assert not same_bits(before, language)
    torch.testing.assert_close(merged, unmerged, atol=1e-4, rtol=1e-4)
    assert same_bits(before, language)
    with pytest.raises(KeyError), adapters.merged(GATE):
        raise KeyError
    assert same_bits(before, language)
    with adapters.gated(GATE):
        assert torch.equal(language.score(soft, mask, prompts, answers), unmerged)


def test_merging_a_tied_head_leaves_the_embedding_alone(make_language):
    language = make_language("llama", tied=True)
    table, head = language.model.get_input_embeddings(), language.model.get_output_embeddings()
    assert table.weight is head.weight
    before = table.weight.clone()
    adapters = warmed(language)
    with adapters.gated(GATE):
        unmerged = logits(language)
    with adapters.merged(GATE):
        assert torch.equal(table.weight, before)
        assert not torch.equal(head.weight, before)
        torch.testing.assert_close(logits(language), unmerged, atol=1e-4, rtol=1e-4)
    assert table.weight is head.weight


@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_moves_adapters_gate_and_projector_and_no_base_weight(make_language, batch, checkpointing):
    _, mask, prompts, answers = batch
    language = make_language("llama", checkpointing=checkpointing)
    before = bits(language)
    adapters = Adapters(language, rank=2, experts=3, dropout=0.1)
    gate, projector = Gate(32, 3, dim=8), Projector(6, 32, seed=0, name="image", rms=language.embedding_rms)
    modules = nn.ModuleList([adapters, gate, projector])
    optimiser = torch.optim.Adam(modules.parameters(), lr=0.02)
    features = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
    start = {n: p.detach().clone() for n, p in modules.named_parameters()}
    losses = []
    for _ in range(12):
        with adapters.gated(gate(language.embed_text("chest"), language.embed_text("is there an opacity ?"))):
            loss = mean_loss(language, projector(features), mask, prompts, answers)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    still = [n for n, p in modules.named_parameters() if torch.equal(p, start[n])]
    assert not still
    assert same_bits(before, language)


def test_two_gates_before_one_backward_pass_under_checkpointing(make_language, batch):
    soft, mask, prompts, answers = batch
    found = []
    for checkpointing in (False, True):
        language = make_language("mistral", checkpointing=checkpointing)
        adapters = warmed(language)
        total = torch.zeros(())
        for alpha in (GATE, GATE.flip(0)):
            with adapters.gated(alpha):
                total = total + mean_loss(language, soft, mask, prompts, answers)
        found.append(torch.autograd.grad(total, list(adapters.parameters())))
    for x, y in zip(*found, strict=True):
        torch.testing.assert_close(x, y)


def test_dropout_is_off_in_evaluation_even_if_training_mode_was_left_on(make_language, batch):
    soft, mask, prompts, answers = batch
    language = make_language("llama")
    adapters = warmed(language, experts=1, dropout=0.5).train()
    assert torch.equal(*(language.score(soft, mask, prompts, answers) for _ in range(2)))
    assert not torch.equal(*(mean_loss(language, soft, mask, prompts, answers) for _ in range(2)))
    adapters.eval()
    assert torch.equal(*(mean_loss(language, soft, mask, prompts, answers) for _ in range(2)))


def test_a_bfloat16_base_is_adapted_in_its_own_type(make_language, batch):
    soft, mask, prompts, answers = batch
    language = make_language("llama", dtype=torch.bfloat16)
    before = bits(language)
    adapters = warmed(language)
    with adapters.gated(GATE):
        loss = mean_loss(language, soft, mask, prompts, answers)
        unmerged = language.score(soft, mask, prompts, answers)
    loss.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in adapters.parameters())
    with adapters.merged(GATE):
        torch.testing.assert_close(language.score(soft, mask, prompts, answers), unmerged, atol=0.5, rtol=0.05)
    assert same_bits(before, language)


def test_the_start_depends_on_the_seed_the_layer_and_the_expert_alone(make_language):
    one, many, other = (Adapters(make_language("llama"), experts=e, seed=s) for e, s in ((1, 0), (3, 0), (1, 1)))
    for name in one.layers:
        assert torch.equal(one.expert(name, 0)[0], many.expert(name, 0)[0])
        assert not torch.equal(many.expert(name, 0)[0], many.expert(name, 1)[0])
        assert not torch.equal(one.expert(name, 0)[0], other.expert(name, 0)[0])


def test_several_experts_need_a_gate_of_their_number(make_language):
    language = make_language("llama")
    adapters = Adapters(language, experts=3)
    with pytest.raises(RuntimeError, match="no gate"):
        logits(language)
    with pytest.raises(ValueError, match="3 experts"), adapters.gated(torch.ones(2)):
        pass


@pytest.mark.parametrize(("architecture", "tied"), [("llama", False), ("gpt_neox", False), ("qwen2", True)])
def test_peft_loads_the_export_to_the_same_logits(make_language, tmp_path, architecture, tied):
    peft = pytest.importorskip("peft", reason="the peft library is not installed")
    language = make_language(architecture, tied=tied)
    adapters = warmed(language)
    with adapters.gated(GATE):
        ours = logits(language)
    adapters.export_peft(tmp_path, GATE)
    adapters.detach()
    base = logits(language)
    theirs = peft.PeftModel.from_pretrained(language.model, str(tmp_path)).eval()
    ids = torch.tensor([language.tokens("is there an opacity in the left lung ?")])
    torch.testing.assert_close(theirs(input_ids=ids).logits, ours, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(ours, base, atol=1e-2)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert settings["lora_alpha"] / settings["r"] == adapters.scale


def test_layers_that_read_one_tensor_share_its_dropout_and_no_others(make_language):
    """With A and W so chosen that a layer shows which elements it read, q, k and v show the same, o others."""
    language = make_language("llama", dtype=torch.float64)
    adapters = Adapters(language, rank=32, alpha=32, experts=1, dropout=0.5, dtype=torch.float64).train()
    read = {}
    for name, low in adapters.low_rank.items():
        if "self_attn" not in name:
            continue
        layer = adapters.layers[name.replace("/", ".")]
        with torch.no_grad():
            low.A.copy_(torch.eye(32))
            low.B.copy_(torch.eye(*low.B.shape))
            layer.weight.zero_()
        layer.register_forward_hook(lambda _, x, y, name=name: read.__setitem__(name, (x[0], y.detach())))
    with torch.enable_grad():
        language.model(input_ids=torch.tensor([[1, 2, 3, 4]]))
    first = {name.rpartition("/")[2]: pair for name, pair in read.items() if "layers/0" in name}
    seen = {name: (y[..., :16] != 0) for name, (_, y) in first.items()}
    assert torch.equal(seen["q_proj"], seen["k_proj"])
    assert torch.equal(seen["q_proj"], seen["v_proj"])
    assert 0.2 < seen["q_proj"].double().mean() < 0.8
    x, y = first["q_proj"]
    shown = seen["q_proj"]
    torch.testing.assert_close(y[..., :16][shown], 2.0 * x[..., :16][shown])
    assert not torch.equal(seen["q_proj"], seen["o_proj"])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    h = torch.ones(301, 333)
    dropped, kept = _dropped(h, p)
    n = h.numel()
    assert abs(float((dropped == 0).double().mean()) - p) < 4 * (p * (1 - p) / n) ** 0.5
    assert kept == pytest.approx(1 - p, abs=2**-16)
    for lane in range(4):  # four elements come from one draw
        assert abs(float((dropped.flatten()[lane::4] == 0).double().mean()) - p) < 4 * (4 * p * (1 - p) / n) ** 0.5
    neighbours = ((dropped[:, 1:] == 0) & (dropped[:, :-1] == 0)).double().mean()
    assert float(neighbours) == pytest.approx(p * p, abs=0.01)
    assert _dropped(h, 0.0)[0] is h


def test_a_layer_alone_and_after_its_leader_say_the_same(make_language):
    """What a leader has put aside is used for the tensor it read and for no other."""
    language = make_language("llama", dtype=torch.float64)
    adapters = warmed(language, dtype=torch.float64)
    attention = language.model.model.layers[0].self_attn
    one, two = torch.randn(2, 3, 4, 32, dtype=torch.float64)
    with adapters.gated(GATE.double()):
        alone = [attention.k_proj(x) for x in (one, two)]
        attention.q_proj(one)
        torch.testing.assert_close(attention.k_proj(one), alone[0])
        attention.q_proj(one)
        torch.testing.assert_close(attention.k_proj(two), alone[1])
        assert not torch.allclose(alone[0], alone[1])


@pytest.mark.parametrize(("init", "narrower"), [("lora", 1.0), ("published", 4.0)])
def test_where_a_begins(make_language, init, narrower):
    adapters = Adapters(make_language(), rank=16, init=init)
    for name, layer in adapters.layers.items():
        a, _ = adapters.expert(name, 0)
        bound = 1 / (layer.in_features**0.5 * narrower)
        assert 0.9 * bound < float(a.detach().abs().max()) <= bound
    adapters.detach()
