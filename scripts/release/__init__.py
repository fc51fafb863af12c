"""`make release`: build what users install, and try it the way they do. Nothing is uploaded anywhere.

The steps, in order, each a file here: `build` (sdist and wheel), `contents` (what is in them), `venv` (both installed,
and used without the checkout), `papers` (locked requirements, `sbom`, `licences`), `unit` and `boot` (systemd), `image`
(the container).
"""
