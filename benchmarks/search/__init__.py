"""How well tools are found by what agents need: a labelled set, and what the hub makes of it.

`python -m benchmarks.search` measures and writes RESULTS.md; with `--fit` it says what the likelihoods' weights should
be, from the half that nothing is reported of. How the set was made: README.md.
"""
