"""The page's process: Streamlit, for as long as the process that started it lives."""

import sys

from skmmrec.runtime import end_with_stdin

if __name__ == "__main__":
    end_with_stdin()
    from streamlit.web.cli import main

    sys.exit(main(prog_name="streamlit"))
