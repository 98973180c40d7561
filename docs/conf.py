from importlib.metadata import version as installed

project = "decoding"
author = "the authors of decoding"
copyright = "2026, the authors of decoding"
version = release = installed("filter-decoding")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
numpydoc_show_class_members = False
autodoc_default_options = {"members": True, "member-order": "bysource"}
html_theme = "alabaster"
exclude_patterns = ["_build"]
