"""What a person has → a configuration that works.

A person has a server's name, a command, a URL, or the files of desktop clients; what comes out is an entry in
`concento.yaml` that was tried before it was written. It serves nobody: `control` reads what is written here.
Read next: `trial.py`, the try of a single server.
"""
