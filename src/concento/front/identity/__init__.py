"""Who is calling, and whether they may at all: a request's head and its connection's certificate in, a principal out.

Without `auth:` the hub serves loopback only, and every caller is the same anonymous principal. What a principal may do
is not decided here but in `policy`.
"""
