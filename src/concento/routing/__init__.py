"""From a tool to a plan: which servers and replicas to try for a call, in which order, and what becomes of results.

Pure: readings in, order out; results in, result out. It reads no clock, opens nothing and remembers nothing. Read next:
`order.py` (the servers of a logical tool), `plan.py` (the replicas of a server), `merge.py` and `adapt.py` (results).
"""
