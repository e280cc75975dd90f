"""The foundation model: a frozen causal language model with soft tokens, adapters, a gate and projectors.

Import what is needed from the modules: ``build`` (load a model by name), ``language`` (losses, scores, answers),
``adapters`` (LoRA and M3OE), ``gate``, ``projector``, ``tiny`` (the stand-in) and ``memory`` (what a model needs).
"""
