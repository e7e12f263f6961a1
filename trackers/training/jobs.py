"""From a recipe's file to the job that it describes."""

from __future__ import annotations

from pathlib import Path

from onlinetada.errors import InputError
from onlinetada.trackers.config import load_config, read_yaml
from onlinetada.trackers.training.compact_job import CompactJob
from onlinetada.trackers.training.job import Job
from onlinetada.trackers.training.recipe import Recipe
from onlinetada.trackers.training.tctrack.job import TCTrackJob
from onlinetada.trackers.training.tctrack.recipe import TCTrackRecipe

AnyRecipe = Recipe | TCTrackRecipe


def load_recipe(path: Path) -> AnyRecipe:
    """A recipe for the network that its file names: ``model: tctrack``, or the options of our own.

    Raises:
        InputError: see ``load_config``.
    """
    values = read_yaml(path)
    named = isinstance(values, dict) and isinstance(values.get("model"), str)
    return load_config(path, TCTrackRecipe) if named else load_config(path, Recipe)


def job_for(recipe: AnyRecipe, *, backbone: Path | None = None, initial: Path | None = None) -> Job:
    """What the recipe asks the training loop to do.

    Args:
        recipe: of any kind.
        backbone: ImageNet weights of the backbone; our own network's come from a package.
        initial: weights of the whole network that it will begin with.
    """
    if isinstance(recipe, TCTrackRecipe):
        return TCTrackJob(recipe, backbone=backbone, pretrained=initial is not None)
    if backbone is not None:
        raise InputError("backbone weights are given to tctrack recipes; the compact network's come from a package")
    return CompactJob(recipe)
