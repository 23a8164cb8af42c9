"""What `streamlit run` runs: the page, with the settings that `browse` wrote."""

import sys

from skmmrec.app._page import show

if __name__ == "__main__":
    show(sys.argv[1])
