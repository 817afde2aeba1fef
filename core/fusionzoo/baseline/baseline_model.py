"""The trained baseline: its artifacts, and the scores of encoded rows. Nothing in it is pickled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from fusionzoo.baseline.boosting_objective import choose_boosting_objective
from fusionzoo.baseline.text_components import TextComponents
from fusionzoo.contracts.training_contracts import BOOSTER_FILE
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.preprocessor import Preprocessor

COMPONENTS_FILE = "text_components.npz"


@dataclass(frozen=True)
class BaselineModel:
    """A booster with what encodes its inputs. `components` is None without text."""

    preprocessor: Preprocessor
    components: TextComponents | None
    booster: xgb.Booster

    def score(self, split: EncodedSplit) -> NDArray[np.float32]:
        """Return the scores of the task, [rows, outputs], such as the probability of each class."""
        outputs = np.asarray(self.booster.predict(make_matrix(split, self.components)), np.float32)
        scores = choose_boosting_objective(self.preprocessor.target).decode(outputs)
        return scores.astype(np.float32, copy=False)

    def save(self, folder: Path) -> None:
        """Write the booster, the text components and the preprocessor into a folder.

        Raises:
            OSError: a file cannot be written.
        """
        self.preprocessor.save(folder)
        (folder / BOOSTER_FILE).write_bytes(self.booster.save_raw("json"))  # save_model does not say why it fails
        if self.components is not None:
            np.savez(folder / COMPONENTS_FILE, idf=self.components.idf, axes=self.components.axes)

    @classmethod
    def load(cls, folder: Path) -> BaselineModel:
        """Return the model that `save` wrote.

        Raises:
            errors.ModelFolderError: the preprocessor is missing or damaged.
        """
        booster, components = xgb.Booster(), None
        booster.load_model(folder / BOOSTER_FILE)
        if (folder / COMPONENTS_FILE).exists():
            with np.load(folder / COMPONENTS_FILE, allow_pickle=False) as arrays:
                components = TextComponents(arrays["idf"], arrays["axes"])
        return cls(Preprocessor.load(folder), components, booster)


def make_matrix(
    split: EncodedSplit, components: TextComponents | None, labels: np.ndarray | None = None
) -> xgb.DMatrix:
    """Return the inputs of the booster: numbers with their missing values, categories by id, and text components.

    `labels` are those of `BoostingObjective.encode`.
    """
    numbers = np.where(split.numbers_missing, np.nan, split.numbers)
    text = np.empty((len(split), 0), np.float32) if components is None else components.transform(split)
    inputs = np.concatenate([numbers, split.categories, text], axis=1).astype(np.float32)
    kinds = ["q"] * numbers.shape[1] + ["c"] * split.categories.shape[1] + ["q"] * text.shape[1]
    return xgb.DMatrix(inputs, labels, feature_types=kinds, enable_categorical=True)
