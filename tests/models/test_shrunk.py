"""Inputs that are made once from stored arrays: the same bits, whoever asks, in whatever order, and within bounds."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from fedmeki_bench.conformance import toys
from fedmeki_bench.conformance.paired_toys import EITHER, paired_cohort
from fedmeki_bench.data.cohort import find
from fedmeki_bench.models import shrunk
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoders.image import ImageEncoder, SmallImageEncoder
from fedmeki_bench.models.encoders.volume import SmallVolumeEncoder
from fedmeki_bench.models.inputs import inputs_of
from fedmeki_bench.profiles import profile

CPU = torch.device("cpu")


def model_for(cohort, task, **changes):
    settings = profile("demo").model_copy(update=changes)
    encoders = {m: (choice.name, choice.params) for m, choice in settings.encoders.items()}
    return ClientModel({task: tuple(cohort.arrays)}, inputs_of([cohort], settings), encoders, hidden={}, seed=0)


@pytest.fixture
def pictures(cohorts):
    cohort = find(cohorts, "lung_opacity")
    return cohort, model_for(cohort, "lung_opacity", image_size=24)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def kept(cohort):
    return shrunk._kept.get(cohort, {})


def test_pictures_are_shrunk_once_and_to_the_same_bits(pictures, monkeypatch):
    cohort, model = pictures
    made = []
    plain = ImageEncoder.to_input

    def counted(self, array, taken, **others):
        made.append(len(array))
        return plain(self, array, taken, **others)

    monkeypatch.setattr(ImageEncoder, "to_input", counted)
    for split in ("client", "valid"):
        part = cohort.part(split)
        wanted = model.to_inputs(part.batch(range(len(part))))
        made.clear()
        for seed in range(3):  # repeated rows, too, as in a batch drawn with replacement
            index = np.random.default_rng(seed).integers(0, len(part), 2 * len(part))
            found = model.read(part, index)
            assert torch.equal(found["image"], wanted["image"][torch.from_numpy(index)])
            found["image"].fill_(9.0)  # whoever changes a batch changes nobody else's
        assert sum(made) <= len(part)  # each once at most, in the control each of six times
    parts = cohort.part("client")
    one, other = parts.take(range(0, 8)), parts.take(range(4, 12))  # two clients that overlap read the same file
    made.clear()
    assert torch.equal(model.read(one, np.arange(8))["image"][4:], model.read(other, np.arange(8))["image"][:4])
    assert not made
    assert len(kept(cohort)) == 1


def test_pictures_of_the_right_size_are_not_copied(cohorts):
    cohort = find(cohorts, "lung_opacity")
    model = model_for(cohort, "lung_opacity", image_size=cohort.arrays["image"].shape[-1])
    part = cohort.part("client")
    assert same(model.read(part, np.arange(5)), model.to_inputs(part.batch(range(5))))
    assert not kept(cohort)


def test_who_reads_pictures_in_a_way_of_their_own_reads_them_each_time(pictures):
    cohort, model = pictures

    class Noisy(SmallImageEncoder):
        def to_input(self, array, taken, **others):
            return super().to_input(array, taken, **others) + torch.rand(())

    taken = model.inputs["image"]
    noisy, plain = (cls((1, 24, 24), cls.Params()) for cls in (Noisy, SmallImageEncoder))
    assert shrunk.shrunk(cohort, noisy, taken, CPU) is None
    assert shrunk.shrunk(cohort, plain, taken, CPU) is not None
    model.encoders["image"] = noisy
    part = cohort.part("client")
    assert not same(model.read(part, np.arange(5)), model.read(part, np.arange(5)))


def test_memory_is_bounded_and_given_back(cohorts, monkeypatch):
    monkeypatch.setattr(shrunk, "MOST", 4 * 24 * 24 * 5)  # room for five pictures
    cohort = find(cohorts, "lung_opacity")
    model, part = model_for(cohort, "lung_opacity", image_size=24), cohort.part("client")
    gc.collect()
    elsewhere = sum(other.bytes for other in shrunk._alive)
    for index in (np.arange(3), np.arange(9), np.arange(9)[::-1].copy()):
        assert same(model.read(part, index), model.to_inputs(part.batch(index)))
    (found,) = kept(cohort).values()
    assert found.bytes <= max(0, shrunk.MOST - elsewhere)
    before = sum(other.bytes for other in shrunk._alive)
    size = found.bytes
    del cohort, model, part, found
    gc.collect()
    assert sum(other.bytes for other in shrunk._alive) == before - size


def test_volumes_and_samples_that_differ_in_what_they_have():
    volumes = toys.volumes()
    model = model_for(volumes, "nodule", volume_size=(2, 4, 4))
    part = volumes.part("client")
    assert isinstance(model.encoders["volume"], SmallVolumeEncoder)
    assert same(model.read(part, np.arange(6)), model.to_inputs(part.batch(range(6))))
    assert len(kept(volumes)) == 1
    paired = paired_cohort()
    model = model_for(paired, EITHER.meta.name, image_size=16)
    part = paired.part("client")
    for of in (part, part.hiding(sorted(paired.optional)[:1])):
        for index in (np.arange(len(of)), np.array([1]), np.arange(len(of))[::-1].copy()):
            assert same(model.read(of, index), model.to_inputs(of.batch(index)))
    assert kept(paired)
