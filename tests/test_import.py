"""Importing is cheap and silent, and every public name is there."""

import json
import subprocess
import sys

PACKAGES = """
import importlib, json, pkgutil, sys
import skmmrec
packages = ["skmmrec"] + [
    f"skmmrec.{m.name}" for m in pkgutil.iter_modules(skmmrec.__path__)
    if m.ispkg and not m.name.startswith("_")
]
modules = [importlib.import_module(name) for name in packages]
"""

WATCH = """
import os, sys
events = []
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
SILENT = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn",
          "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.", "tempfile.",
          "urllib.")
def watch(event, args):
    if event == "open":
        path, mode, flags = args
        if flags & WRITES or set(mode or "") & set("wax+"):
            events.append(f"open {path} {mode}")
    elif event.startswith(SILENT):
        events.append(event)
sys.addaudithook(watch)
"""

HEAVY = {
    "torch",
    "torchvision",
    "open_clip",
    "sentence_transformers",
    "transformers",
    "panns_inference",
    "librosa",
    "feast",
    "sklearn",
    "pandas",
    "matplotlib",
}


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_the_package_loads_no_library():
    loaded = run_python("import json, sys, skmmrec; print(json.dumps([*sys.modules]))")
    assert "skmmrec" in loaded
    assert not HEAVY & set(loaded)


def test_importing_the_subpackages_loads_no_heavy_library():
    loaded = run_python(PACKAGES + "print(json.dumps([*sys.modules]))")
    assert "skmmrec.recommender" in loaded
    assert not HEAVY & set(loaded)


def test_importing_writes_nothing_and_asks_no_network():
    code = WATCH + PACKAGES + "print(json.dumps(events))"
    assert run_python(code) == []


def test_the_watch_sees_a_write(tmp_path):
    code = WATCH + f"import json\nopen({str(tmp_path / 'x')!r}, 'w')\n"
    code += "import socket; socket.socket().close()\nprint(json.dumps(events))"
    seen = run_python(code)
    assert len(seen) == 2
    assert seen[0].startswith("open")


def test_every_public_name_resolves():
    code = PACKAGES + (
        "names = {m.__name__: [type(getattr(m, n)).__name__ for n in m.__all__]"
        " for m in modules}\n"
        "assert all(set(m.__all__) <= set(dir(m)) | {'__version__'} for m in modules)\n"
        "print(json.dumps(names))"
    )
    names = run_python(code)
    assert {"skmmrec.catalog", "skmmrec.fusion", "skmmrec.recommender"} <= set(names)
    assert all(names.values())


def test_an_unknown_name_is_an_attribute_error():
    code = (
        "import json, skmmrec\n"
        "try: skmmrec.NoSuchThing\n"
        "except AttributeError as error: print(json.dumps(str(error)))"
    )
    assert "NoSuchThing" in run_python(code)
