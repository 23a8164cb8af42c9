"""The type of text that is the default of pandas 3, in whatever pandas there is."""

import numpy as np
import pandas as pd

# Before pandas 2.3 it had another name.
OF_PANDAS_3 = (
    pd.StringDtype("pyarrow_numpy")
    if pd.__version__.startswith("2.2")
    else pd.StringDtype(na_value=np.nan)
)
