from pathlib import Path

import pytest

from sordino.errors import SordinoError
from sordino.train.checkpoint import choose_recipe, corpus_of
from sordino.train.recipe import Recipe


def test_without_a_recipe_the_checkpoint_is_tuned_gently(
    recipe: Recipe, trained: Path, data: Path
) -> None:
    tuned = choose_recipe(None, trained, data, {"train.steps": "5"})
    assert tuned.name == "test-tuned"
    assert tuned.network == recipe.network
    assert tuned.train.learning_rate == pytest.approx(recipe.train.learning_rate / 10)
    assert tuned.train.layer_decay < 1
    assert tuned.train.steps == 5
    assert tuned.data.speech[0].path == str(data / "speech")


def test_neither_recipe_nor_checkpoint_is_refused() -> None:
    with pytest.raises(SordinoError, match="--init"):
        choose_recipe(None, None, None, {})


def test_a_folder_of_pairs_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "noisy").mkdir()
    (tmp_path / "clean").mkdir()
    corpus = corpus_of(tmp_path)
    assert corpus.pairs[0].path == str(tmp_path)
    assert not corpus.speech


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SordinoError, match="speech"):
        corpus_of(tmp_path)
