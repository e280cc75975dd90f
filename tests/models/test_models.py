"""Encoders, the flat buffer and the client model."""

from __future__ import annotations

import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.errors import InputError
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoder import Input
from fedmeki_bench.models.encoders.image import DeiTTinyEncoder
from fedmeki_bench.models.encoders.signal import PublishedSignalEncoder
from fedmeki_bench.models.flat import FlatTensors, Layout

INPUTS = {"image": Input((1, 64, 64), 1 / 255), "signal": Input((12, 1000), 0.001)}
SMALL = {"image": ("small_image", {}), "signal": ("small_signal", {})}


def model(tasks=None, **options):
    chosen = tasks or {"a": ("image",), "b": ("signal",)}
    return ClientModel(chosen, INPUTS, SMALL, hidden={"image": 8}, seed=0, **options)


@pytest.mark.parametrize("name", ["small_image", "small_signal", "published_signal", "deit_tiny"])
def test_pooled_is_the_mean_of_the_tokens(name):
    cls = registry.load("encoders", name)
    shape = {"image": (1, 64, 64), "signal": (12, 1000)}[cls.modality]
    torch.manual_seed(0)
    encoder = cls(shape, cls.Params()).eval()
    x = torch.rand(3, *shape)
    tokens = encoder(x)
    assert tokens.shape[0] == 3
    assert tokens.shape[-1] == encoder.width
    torch.testing.assert_close(encoder.pooled(x), tokens.mean(dim=1), rtol=1e-4, atol=1e-5)


def test_the_paper_sizes():
    deit = DeiTTinyEncoder((1, 224, 224), DeiTTinyEncoder.Params()).eval()
    assert deit(torch.rand(1, 1, 224, 224)).shape == (1, 198, 192)
    assert 5.4e6 < sum(p.numel() for p in deit.parameters()) < 5.9e6  # DeiT-tiny distilled: 5.9 M with its two heads
    ecg = PublishedSignalEncoder((12, 1000), PublishedSignalEncoder.Params())
    assert ecg(torch.rand(2, 12, 1000)).shape == (2, 12, 4096)


def test_deit_loads_weights_from_a_folder(tmp_path):
    from transformers import DeiTConfig, DeiTModel

    config = DeiTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=16
    )
    saved = DeiTModel(config, add_pooling_layer=False).eval()
    saved.save_pretrained(tmp_path)
    loaded = DeiTTinyEncoder((1, 32, 32), DeiTTinyEncoder.Params(weights=tmp_path)).eval()
    x = torch.rand(2, 1, 32, 32)
    want = saved(pixel_values=((x - 0.5) / 0.5).expand(-1, 3, -1, -1)).last_hidden_state
    torch.testing.assert_close(loaded(x), want)
    with pytest.raises(InputError, match="prepare it again with -o image_size=32"):
        DeiTTinyEncoder((1, 64, 64), DeiTTinyEncoder.Params(weights=tmp_path))
    with pytest.raises(InputError, match=r"no config\.json"):
        DeiTTinyEncoder((1, 32, 32), DeiTTinyEncoder.Params(weights=tmp_path / "nowhere"))


def test_parameters_are_views_of_the_flat_buffer():
    m = model()
    for task in m.tasks:
        for name, parameter in m.parameters_of(task).items():
            assert parameter.data_ptr() == m.values[name].data_ptr()
            assert parameter.grad.data_ptr() == m.grads[name].data_ptr()
    m.values.flat.fill_(0.5)
    assert all(float(p.detach().min()) == 0.5 for p in m.parameters())


def test_a_step_touches_the_units_of_its_task_only():
    m = model()
    m("b", {"signal": torch.rand(2, 12, 1000)}).logits.sum().backward()
    assert m.grads.segment("encoder.signal").abs().sum() > 0
    assert m.grads.segment("encoder.image").abs().sum() == 0
    assert m.grads.segment("decoder.a").abs().sum() == 0


def test_units_begin_at_aligned_offsets_and_padding_is_not_sent():
    m = model()
    layout = m.values.layout
    assert all(s.start % 16 == 0 for s in layout.segments.values())
    assert m.values.nbytes == sum(t.numel() * 4 for t in m.values.values())
    part = m.values.restrict(["decoder.b", "encoder.signal"])
    assert part.nbytes == sum(m.values[n].numel() * 4 for n in part)
    assert all(torch.equal(part[n], m.values[n]) for n in part)
    assert part.layout is m.values.restrict(["encoder.signal", "decoder.b"]).layout


def test_two_tasks_of_one_modality_share_its_encoder():
    m = model({"a": ("image",), "c": ("image",)})
    assert set(m.values.units) == {"encoder.image", "decoder.a", "decoder.c"}
    assert m.units("a")[0] == m.units("c")[0] == "encoder.image"


def test_a_task_of_two_modalities_uses_both_encoders():
    m = model({"both": ("image", "signal")})
    out = m("both", {"image": torch.rand(2, 1, 64, 64), "signal": torch.rand(2, 12, 1000)})
    assert out.logits.shape == (2,)
    assert out.features.shape == (2, 128)


def test_functional_outputs_equal_loaded_ones():
    m, other = model().eval(), model()
    other.values.flat.add_(0.01)
    x = {"image": torch.rand(2, 1, 64, 64)}
    got = m.functional(other.values, "a", x).logits
    torch.testing.assert_close(got, other.eval()("a", x).logits)


def test_building_a_model_leaves_the_global_stream_alone():
    torch.manual_seed(3)
    want = torch.rand(1)
    torch.manual_seed(3)
    model()
    assert torch.equal(torch.rand(1), want)


def test_arithmetic_reads_like_the_paper():
    layout = Layout.build({"a": [("a.w", (3,), True)], "b": [("b.w", (2,), True)]})
    x = FlatTensors(layout, torch.arange(layout.size, dtype=torch.float32))
    y = x.restrict(["b"])
    assert torch.equal((x - x * 2.0 + 1.0 * x).flat, torch.zeros(layout.size))
    assert torch.equal((y + x)["b.w"], 2 * x["b.w"])
    with pytest.raises(ValueError, match="do not match"):
        x + y


def test_pictures_are_shrunk_never_enlarged(cohorts, tmp_path):
    from fedmeki_bench.algorithms import resolve
    from fedmeki_bench.runs.assemble import assemble, assignment
    from fedmeki_bench.runs.execute import open_cohorts
    from fedmeki_bench.runs.resolved import resolve as resolve_plugins
    from fedmeki_bench.runs.spec import specify

    for size in (32, 128):
        (spec,) = specify(resolve("fedavg_s"), ["lung_opacity"], clients=2, options={"image_size": size})
        plugins, opened = resolve_plugins(spec), open_cohorts(spec, cohorts)
        if size == 128:
            with pytest.raises(InputError, match="prepare it again with -o image_size=128"):
                assemble(spec, plugins, opened, assignment(spec, plugins, opened))
        else:
            built = assemble(spec, plugins, opened, assignment(spec, plugins, opened)).model
            batch = opened["lung_opacity"].part("client").batch([0, 1])
            assert built.to_inputs(batch)["image"].shape == (2, 1, 32, 32)


@pytest.mark.slow
def test_the_paper_profile_trains(cohorts, tmp_path):
    """DeiT-tiny and the published ECG net through one round; 64 px pictures, so as to stay affordable."""
    from fedmeki_bench.algorithms import resolve
    from fedmeki_bench.records.store import RecordStore
    from fedmeki_bench.runs.execute import execute
    from fedmeki_bench.runs.spec import specify

    options = {"rounds": 1, "image_size": 64, "threads": 1}
    tasks = ["ecg_abnormal", "lung_opacity"]
    (spec,) = specify(resolve("fedprox_m_plus"), tasks, profile_name="paper", clients=2, options=options)
    record = execute(spec, cohorts, RecordStore(tmp_path))
    assert record.status == "ok", record.error
    assert record.cost.parameters > 9_000_000
