"""What a training at ``scale=paper`` still lacks of its paper: ``lacks`` of the configuration, sentence by sentence.

An entry holds ``when``, values by their dotted keys, and ``say``. It is said when the composed configuration has all of
these values, so that it goes away as soon as the missing piece is given. docs/papers.md has every deviation.

    python train.py experiment=facedancer scale=paper encoder.weights=<file>
"""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf


def lacking(config: DictConfig) -> list[str]:
    """The sentences that are true of this configuration, in their order."""
    return [str(entry["say"]) for entry in config.get("lacks") or [] if _is_so(config, entry["when"])]


def _is_so(config: DictConfig, when: DictConfig) -> bool:
    return all(OmegaConf.select(config, str(key)) == value for key, value in when.items())
