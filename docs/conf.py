import shutil
from importlib.metadata import version as installed
from pathlib import Path

from numpydoc.xref import DEFAULT_LINKS

import decoding

project = "decoding"
author = "the authors of decoding"
copyright = "2026, the authors of decoding"
version = release = installed("filter-decoding")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_examples", "inventories", "benchmarks-measured.rst"]
suppress_warnings = ["config.cache"]  # the gallery's settings hold a function, and are not kept from build to build

# Furo and not pydata-sphinx-theme: these pages are read one after the other, like a book, and Furo shows them all beside each of
# them, in this order; the other one's bar at the top has room for five. Both are light and dark, and load nothing from elsewhere.
html_theme = "furo"
html_title = "decoding"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_js_files = ["pages.js"]
html_copy_source = False

numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # but for these
numpydoc_xref_aliases = {
    **{name: name for name in DEFAULT_LINKS},  # which would need inventories of their own
    "ndarray": "numpy.ndarray",
    "array_like": "numpy.typing.ArrayLike",
    "PIL.Image.Image": ":class:`PIL.Image.Image`",
    "scipy.sparse.linalg.LinearOperator": ":class:`scipy.sparse.linalg.LinearOperator`",
    "Network": "decoding.Network",
    "TopImages": "decoding.evaluation.TopImages",
    "Statistics": "decoding.Statistics",
}
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # the docstrings say more: shapes

# The build needs no network: the inventories hold the few names that are linked to. See inventories/README.
intersphinx_mapping = {
    "numpy": ("https://numpy.org/doc/stable/", "inventories/numpy.txt"),
    "scipy": ("https://docs.scipy.org/doc/scipy/", "inventories/scipy.txt"),
    "pillow": ("https://pillow.readthedocs.io/en/stable/", "inventories/pillow.txt"),
}

copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

# The programs of the folder itself; the backends below it have a page of their own, conformance.
examples = Path(__file__).parent / "_examples"
shutil.rmtree(examples, ignore_errors=True)
examples.mkdir()
for path in Path(__file__).parents[1].glob("examples/*.*"):
    if path.suffix == ".rst" or '"__main__"' in path.read_text(encoding="utf-8"):
        shutil.copy2(path, examples)

# Examples are shown with ready pictures, and not run: most of them take minutes. Those that are fast are run by the tests, which hold
# the pictures against what they draw.
sphinx_gallery_conf = {
    "examples_dirs": "_examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"^$",
    "default_thumb_file": str(Path(__file__).parent / "images" / "layer7-filter3.png"),
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "min_reported_time": 10**6,
    "within_subsection_order": "FileNameSortKey",
    "write_computation_times": False,
}

# `sphinx-build -b linkcheck docs docs/_build/links` needs the network.
# The first refuses programs; the second is written after the check.
linkcheck_ignore = [r"https://doi\.org/.*", r"lenet-page/.*"]


def write_explorer(app, exception):
    """LeNet's explorer beside the pages, for explorer.rst to link to as lenet-page/index.html."""
    if exception is None and app.builder.format == "html":
        decoding.explore(decoding.lenet(), Path(app.outdir) / "lenet-page")


def setup(app):
    app.connect("build-finished", write_explorer)
