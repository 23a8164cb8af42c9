"""Leave out the modules of the page where Streamlit is not installed."""

from importlib.util import find_spec

VIEWS = ["_main.py", "_page.py", "_widgets.py", "_*_view.py"]
collect_ignore_glob = (
    [] if find_spec("streamlit") else [f"skmmrec/app/{name}" for name in VIEWS]
)
