"""What a person has → a configuration that works.

A person has a server's name, a command, a URL, or the files of desktop clients; what comes out is an entry in
`concento.yaml` that was tried before it was written. It serves nobody: `control` reads what is written here.
Read next: for one server `trial.py`, `registry.py` and `offer.py`; for those that clients have `found.py`,
`translate.py`, `gather.py` and `pointing.py`; for what is written `disguise.py`, `insert.py` and `save.py`; for what is
wrong `examine.py`.
"""
