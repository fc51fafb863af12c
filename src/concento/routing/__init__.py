"""From a binding to a plan: which replicas to try for one call, in which order. Pure: readings in, order out.

It reads no clock, opens nothing and remembers nothing. Read next: `plan.py`.
"""
