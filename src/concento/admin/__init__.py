"""The operator's listener: what is connected, which tools there are, metrics. Read-only, and off the data path.

It decides nothing and changes nothing. Read next: `describe.py` (the shapes of its JSON), then `listener.py`.
"""
