"""The TikTok data set: short videos with picture and sound vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skmmrec.datasets._home import find_files
from skmmrec.interactions import ITEM

_DESCR = """\
TikTok short videos
-------------------
{n_interactions} implicit interactions of {n_users} users with {n_items} videos, split
into {n_train} train, {n_validation} validation and {n_test} test rows. Each video has a
picture vector and a sound vector of {dim} float32 numbers; there are no raw content and
no texts. Some users have no training row, and some validation and test items
never occur in training. A few sound vectors are duplicates of each other.

Source: the split published with W. Wei, C. Huang, L. Xia and C. Zhang, "Multi-Modal
Self-Supervised Learning for Recommendation", WWW 2023, and Y. Jiang et al., "DiffMM:
Multi-Modal Diffusion Model for Recommendation", ACM Multimedia 2024.

Licence: none stated; for research use.
"""


def load_tiktok(data_home: str | Path | None = None) -> Bunch:
    """Load the TikTok split with its picture and sound vectors.

    Parameters
    ----------
    data_home : str or Path, default=None
        Folder that contains ``tiktok``. None for the folder that the environment
        variable ``SKMMREC_DATA_HOME`` names.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        interactions : DataFrame
            user_id (int32), item_id (int32), split ("train", "validation" or "test").
        train, validation, test : DataFrame
            The rows of each split, without the column split.
        item_table : DataFrame of shape (n_items, 257)
            item_id (int32) and the float32 columns image__0 to image__127 and audio__0
            to audio__127.
        DESCR : str
            Description, source and licence.

    Raises
    ------
    ValueError
        If neither `data_home` nor ``SKMMREC_DATA_HOME`` is given.
    FileNotFoundError
        If a file is missing.
    """
    table, *arrays = find_files(
        data_home, "tiktok", "interactions.parquet", "item_image.npy", "item_audio.npy"
    )
    interactions = pd.read_parquet(table)
    image, audio = (np.load(path, allow_pickle=False) for path in arrays)
    splits = {
        name: interactions[interactions.split == name]
        .drop(columns="split")
        .reset_index(drop=True)
        for name in ("train", "validation", "test")
    }
    return Bunch(
        interactions=interactions,
        item_table=_item_table(image, audio, interactions[ITEM].dtype),
        **splits,
        DESCR=_DESCR.format(
            n_interactions=len(interactions),
            n_users=interactions.user_id.nunique(),
            n_items=len(image),
            dim=image.shape[1],
            **{f"n_{name}": len(rows) for name, rows in splits.items()},
        ),
    )


def _item_table(
    image: np.ndarray, audio: np.ndarray, id_type: np.dtype
) -> pd.DataFrame:
    ids = pd.DataFrame({ITEM: np.arange(len(image), dtype=id_type)})
    blocks = [
        pd.DataFrame(block).add_prefix(f"{modality}__")
        for modality, block in (("image", image), ("audio", audio))
    ]
    return pd.concat([ids, *blocks], axis=1)
