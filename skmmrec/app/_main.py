"""What `streamlit run` runs: the page, with the settings that `browse` wrote."""

import sys

from skmmrec.app._page import show

show(sys.argv[1])
