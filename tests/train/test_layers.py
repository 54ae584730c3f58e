import numpy as np

from sordino.train.layers import merge_matrix, spread_matrix


def test_bands_share_every_bin_and_average_every_band() -> None:
    spread, merge = spread_matrix(), merge_matrix()
    assert spread.shape == merge.shape == (769 - 80, 128 - 80)
    np.testing.assert_allclose(spread.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(merge.sum(0), 1, atol=1e-6)
    assert (spread > 0).sum(1).max() <= 2


def test_bands_widen_with_frequency() -> None:
    widths = spread_matrix().sum(0)[1:-1]
    assert np.all(np.diff(widths) > 0)
