"""Which folder a model is in that a command was told of."""

from __future__ import annotations

from pathlib import Path

from app.errors import InvalidRequest, UnknownName


def model_folder(named: str | None, kind: str) -> Path:
    """The folder of a generator of the kind, given by folder or by name; the first one where nothing is named.

    Raises:
        UnknownName: there is no folder and no model of that name.
        InvalidRequest: the model writes circuits of another kind, or there is none.
        ModelDamaged: its configuration cannot be read.
    """
    from app.inference.checkpoint import kind_of, list_models
    from app.resources import models_path
    from app.settings import read_settings

    models = read_settings().models_dir or models_path()
    if named is None:
        own = [models / name for name in list_models(models) if kind_of(models / name) == kind]
        if not own:
            raise InvalidRequest(f"no {kind} model in {models}; train one with 'josephson train {kind}'")
        return own[0]
    for folder in (Path(named), models / named):
        if (folder / "config.json").is_file():
            if (found := kind_of(folder)) != kind:
                raise InvalidRequest(f"model {named} writes {found} circuits; name one for {kind} circuits")
            return folder
    raise UnknownName("model", named, list_models(models))
