"""Short labelled recordings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from sklearn.utils import Bunch

from skmmrec.datasets._home import find_files

_DESCR = """\
Short audio clips
-----------------
{n_clips} recordings in Ogg Vorbis: 5-second clips of everyday sounds, and longer pieces
of music, speech and animals.

Source: K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM
Multimedia 2015 (subset ESC-10), and the example recordings of librosa.

Licence: ESC-10 under CC BY 3.0; librosa's examples under CC0 or CC BY, file by file.
Credit each clip as the column ``credit`` says.
"""


def load_audio_clips(data_home: str | Path | None = None) -> Bunch:
    """Load paths, labels and credits of short recordings.

    Parameters
    ----------
    data_home : str or Path, default=None
        Folder that contains ``audio-clips``. None for the folder that the environment
        variable ``SKMMREC_DATA_HOME`` names.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        clips : DataFrame
            path, label and credit, all str.
        DESCR : str
            Description, source and licence.

    Raises
    ------
    ValueError
        If neither `data_home` nor ``SKMMREC_DATA_HOME`` is given.
    FileNotFoundError
        If a file is missing.
    """
    (credits,) = find_files(data_home, "audio-clips", "credits.csv")
    table = pd.read_csv(credits)
    paths = find_files(data_home, "audio-clips", *table.file)
    clips = pd.DataFrame(
        {"path": list(map(str, paths)), "label": table.label, "credit": table.credit}
    )
    return Bunch(clips=clips, DESCR=_DESCR.format(n_clips=len(clips)))
