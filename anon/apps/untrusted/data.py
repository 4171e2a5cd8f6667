"""The data that a checkpoint was trained on, made again for what is measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from omegaconf import DictConfig, OmegaConf

from anon.apps.untrusted.building import build, mendable
from anon.errors import UserError
from anon.faces.contract import FaceSet
from anon.faces.datamodule import FaceData

_MOST = {"identities": 2**20, "images": 2**16, "size": 4096, "render_seed": 2**63, "first": 10**9}


class Rendered(NamedTuple):
    """People of a split of the synthetic faces, stills of each, the side in pixels, the seed they are drawn by, and the
    number of the first who may be one of them.
    """

    people: int
    images: int
    size: int
    seed: int
    first: int


def rendered_of(config: DictConfig, where: object, split: str) -> Rendered:
    """What the configuration of a checkpoint says of its synthetic faces.

    Raises:
        UserError: it was trained on other data, or says it in a way that no configuration here does.
    """
    data = _data(config, where)
    if data.get("name") != "synthetic":
        raise UserError(f"{where} was trained on other data than data=synthetic, which this is for.")
    numbers = []
    for name, most in _MOST.items():
        value = data.get(name, 0 if name == "first" else None)  # older ones do not say it
        number = value.get(split) if isinstance(value, Mapping) else value
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= most:
            raise UserError(f"{where} says data.{name}={value}, which no synthetic data has.")
        numbers.append(number)
    return Rendered(*numbers)


def faces_of(config: DictConfig, where: object, split: str, places: Mapping[str, str | None] | None = None) -> FaceSet:
    """A split of the data that a checkpoint was trained on, in this machine's cache whatever the checkpoint says.

    Args:
        places: the folder (``root``) and the table (``points``) of faces that the user names: whoever wrote the
            checkpoint does not choose which folders of this machine are read.

    Raises:
        UserError: see :func:`anon.apps.untrusted.build`; the data are not there, or lie where the user did not say.
    """
    data = _data(config, where)
    for name in ("root", "points"):
        said, given = data.get(name), (places or {}).get(name)
        if said is not None and given is None:
            raise UserError(
                f"{where} says that its data lie in data.{name}={str(said)[:200]}, which is read where you say so: "
                f"--{name} <yours>."
            )
        data |= {name: given} if given is not None else {}
    kept = {"cache": None} if "cache" in data else {}
    made = build({**data, **kept}, where, "data", FaceData)
    with mendable(f"the data of {where} cannot be read"):
        return made.faces(split)


def _data(config: DictConfig, where: object) -> dict[str, Any]:
    data = OmegaConf.to_container(config).get("data")  # type: ignore[union-attr]
    if not isinstance(data, dict):
        raise UserError(f"{where} does not say which data it was trained on.")
    return cast(dict[str, Any], data)
