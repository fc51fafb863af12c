"""Texts as vectors, so that tools are found by what they mean, beside by their words.

Deliberately not: training, downloads, a vector database. A model is a folder that is there, or a URL that is asked.
Read `contract.py` first, then `sentence_model.py` or `remote.py`.
"""
