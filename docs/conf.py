"""How Sphinx builds the site: `make docs`."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx_gallery.sorting import ExplicitOrder

import skmmrec

# The examples need no network, and no page is to show a warning about forks.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

project = "skmmrec"
author = "The skmmrec developers"
copyright = author
version = release = skmmrec.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
nitpicky = True
# In docstrings, `name` links to the public name, if it is one.
default_role = "py:obj"
smartquotes_action = "qe"  # two hyphens begin an option; they are no dash
nitpick_ignore = [("py:class", "sklearn.utils.Bunch")]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc tells the types
numpydoc_show_class_members = False  # the template shows them
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    # The whole way first, then the four worlds, then a question each.
    "within_subsection_order": ExplicitOrder(
        [
            "from_content_to_lists.py",
            "shop.py",
            "music.py",
            "video.py",
            "social.py",
            "which_fusion.py",
            "new_items.py",
            "why_recommended.py",
            "*",
        ]
    ),
    "remove_config_comments": True,
    "backreferences_dir": None,
    "reference_url": {"skmmrec": None},
    "show_memory": False,
    "write_computation_times": False,  # its page asks other hosts for scripts
    "show_signature": False,
    "min_reported_time": 1_000,
}
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_selector = (
    "div:not(.highlight-text):not(.sphx-glr-script-out) > .highlight > pre"
)

html_theme = "pydata_sphinx_theme"
html_title = "skmmrec"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = html_favicon = "_static/logo.svg"
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "skmmrec"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_nav_level": 1,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
# Pages that have none below them need no navigation of their section.
html_sidebars = {
    name: []
    for name in [
        "architecture",
        "coming_from",
        "figures",
        "first_steps",
        "index",
        "inputs",
        "leaderboard",
        "limits",
    ]
}


def skip_foreign(
    _app: Sphinx, _what: str, name: str, member: Any, skip: bool, _options: Any
) -> bool | None:
    """Leave out members that scikit-learn, torch, Feast or Python bring along."""
    member = inspect.unwrap(member) if callable(member) else member
    member = getattr(member, "fget", member)
    # Methods of Python's own types, such as a dict's, name their type alone.
    owner = getattr(member, "__objclass__", getattr(member, "__self__", None))
    modules = (getattr(one, "__module__", None) for one in (member, owner))
    module = next(filter(None, modules), "skmmrec")
    is_own = module.split(".")[0] == "skmmrec"
    is_routing = name.startswith("set_") and name.endswith("_request")
    return skip or not is_own or is_routing or None


def escape_shapes(
    _app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Keep names that end in ``_`` in shapes from being read as links."""
    for row, line in enumerate(lines):
        if "of shape (" in line:
            lines[row] = re.sub(r"(?<=\w)_(?=[,) ])", r"\_", line)


def public_names(env: BuildEnvironment) -> dict[str, str]:
    """Where each class and function has its page, by its last name."""
    objects = env.domains.python_domain.objects
    methods = {n.split(".")[-1] for n, o in objects.items() if o.objtype == "method"}
    kinds = {"class", "exception", "function"}
    names = {n.split(".")[-1]: n for n, o in objects.items() if o.objtype in kinds}
    return {last: name for last, name in names.items() if last not in methods}


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Link names that are written without their module or by another one of ours.

    What a docstring puts in single backticks need not be a public name: parameters and
    names of other libraries stay as they are. Roles that say more, as in the guide,
    must find their target.
    """
    if node.get("refdomain") != "py":
        return None
    parts = node["reftarget"].split(".")
    names = public_names(env)
    own = next((i for i, part in enumerate(parts) if part in names), None)
    is_ours = own is not None and (own == 0 or parts[0] == "skmmrec")
    if is_ours:
        target = ".".join([names[parts[own]], *parts[own + 1 :]])
        domain = env.domains.python_domain
        here = node.get("refdoc", "")
        found = domain.resolve_xref(
            env, here, app.builder, "obj", target, node, content
        )
        if found is not None:
            return found
    return content if node["reftype"] == "obj" else None


def skip_unset(_app: Sphinx, _context: Any, lines: list[str]) -> None:
    """Leave out defaults that an option does not have, for which click has a mark."""
    lines[:] = [line for line in lines if "Sentinel.UNSET" not in line]


def show_as_typed(_app: Sphinx, _context: Any, lines: list[str]) -> None:
    """Show examples in blocks of code: prose would bend the quotes of a command."""
    shown: list[str] = []
    for line in lines:
        if line.startswith("|   "):
            shown.append(line.removeprefix("|"))
        elif line.startswith("| "):
            language = "sh" if line.startswith("| Example") else "text"
            shown += [line.removeprefix("| "), "", f".. code-block:: {language}", ""]
        else:
            shown.append(line)
    lines[:] = shown


def refuse_other_hosts(app: Sphinx, error: Exception | None) -> None:
    """Fail where a page would fetch a script, a style or a picture from elsewhere."""
    asset = re.compile(
        r'<(?:script|link|img|iframe|source)\b[^>]*"(?:https?:)?//[^"]*"'
    )
    for page in Path(app.outdir).rglob("*.html") if error is None else []:
        if found := asset.search(page.read_text(encoding="utf-8")):
            raise ExtensionError(f"{page} asks another host: {found[0]}")


def visit_math(self: Any, node: nodes.math | nodes.math_block) -> None:
    """Write MathML, which browsers show without a script."""
    is_block = isinstance(node, nodes.math_block)
    self.body.append(tex2mathml(node.astext(), as_block=is_block))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register what stands above."""
    app.connect("autodoc-skip-member", skip_foreign)
    # Before numpydoc, which has the default priority, 500.
    app.connect("autodoc-process-docstring", escape_shapes, priority=400)
    app.connect("missing-reference", resolve)
    app.connect("sphinx-click-process-options", skip_unset)
    app.connect("sphinx-click-process-epilog", show_as_typed)
    app.connect("build-finished", refuse_other_hosts)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
