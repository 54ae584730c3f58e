from pathlib import Path

import pytest

from sordino.errors import SordinoError
from sordino.train.recipe import Recipe, from_tree, load_recipe, to_tree

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_projects_recipes_load_and_are_named_after_their_files(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert from_tree(Recipe, to_tree(recipe)) == recipe


def recipe_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_settings_override_the_file(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, "[train]\nsteps = 3\n[mix]\nrates = { 16000 = 1.0 }\n")
    recipe = load_recipe(path, {"train.steps": "7", "network.channels": "[4, 8]", "name": "x"})
    assert (recipe.train.steps, recipe.network.channels, recipe.name) == (7, (4, 8), "x")
    assert recipe.mix.rates == {16000: 1.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[train]\nstepz = 3\n", "train.stepz; did you mean 'steps'"),
        ("[trian]\nsteps = 3\n", "did you mean 'train'"),
        ("[train]\nsteps = 'many'\n", "train.steps must be int"),
        ("[train]\nsteps = true\n", "train.steps must be int"),
        ("train = 3\n", "train must be"),
        ("[train]\nclip = nan\n", "train.clip must be a finite number, not nan"),
        (
            "[data]\nnoise_weights = { 'cat*' = -2.0 }\n",
            r"data.noise_weights: the weight of cat\* must be 0 or more, not -2$",
        ),
        ("[data]\nnoise_weights = { dog = inf }\n", "data.noise_weights must be a finite number"),
        (
            "[data]\nspeech = [{ path = 'a', weight = 1 }, { path = 'a', weight = -1 }]\n",
            "data.speech: the weight of a must be 0 or more, not -1$",
        ),
        ("[data]\nrirs = [{ path = 'a', weight = 0 }]\n", "data.rirs: no weight is more than 0"),
        ("[mix]\nrates = { 8000 = 2.0, 16000 = -1.0 }\n", "mix.rates: the weight of 16000 Hz must"),
        ("[mix]\nrates = { 8000 = 0.0 }\n", "mix.rates: no weight is more than 0"),
        ("[mix]\nnoises = []\n", "mix.noises: no weight is more than 0"),
        ("[mix]\nnoises = [0.5, -0.1]\n", r"mix.noises: the weight of 2 noise\(s\) must"),
        ("[talkers]\nalone = -0.1\n", "talkers: the weight of alone must be 0 or more"),
        (
            "[talkers]\nswapped = true\ntalkers = 0\ntalkers_noise = 0\n",
            "talkers.swapped: no weight is more than 0",
        ),
        ("[train\n", "cannot read the recipe"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SordinoError, match=words):
        load_recipe(recipe_file(tmp_path, text))


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(SordinoError, match="cannot read the recipe"):
        load_recipe(tmp_path / "none.toml")


def test_retired_keys_are_read_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text("[mix]\ncreatures = 0.05\nspeech_only = 0.2\n")
    with pytest.warns(UserWarning, match=r"mix\.creatures has no effect"):
        recipe = load_recipe(path)
    assert recipe.mix.speech_only == 0.2
