"""One closing record a call, and what is made of it: access log, metrics. Nothing here can slow or fail a call.

Read next: `record.py`.
"""
