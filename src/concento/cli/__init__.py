"""The verbs of `concento`. Each verb's module is imported when it is used, so that `--help` costs little.

Data goes to standard output, everything said to a person to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage
or configuration.

Read next: `main.py`.
"""
