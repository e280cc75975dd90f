"""Gradient checkpointing of a frozen model that stays in eval mode and whose adapters' gate changes between passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from torch import nn

Contexts = Sequence[Callable[[], AbstractContextManager[Any]]]


def enable(model: Any, recompute: Contexts) -> list[nn.Module]:
    """Turn on checkpointing in a transformers model; returns the modules whose ``training`` flag switches it.

    ``recompute`` is read at every forward pass: each function is called then, and the context it returns is
    entered when the layer runs for the second time, in the backward pass. So a layer is recomputed under the
    gate it first ran under, even if another gate has been set in between.
    """

    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), _entered([make() for make in recompute])

    options = {"use_reentrant": False, "context_fn": contexts}
    switch = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    switch(options)
    return [m for m in model.modules() if getattr(m, "gradient_checkpointing", False)]


@contextmanager
def active(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Set ``training`` on exactly these modules: transformers checkpoints no layer in eval mode.

    Their children stay in eval mode, so the base model's dropout stays off.
    """
    for module in modules:
        module.training = True
    try:
        yield
    finally:
        for module in modules:
            module.training = False


@contextmanager
def _entered(contexts: Sequence[AbstractContextManager[Any]]) -> Iterator[None]:
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield
