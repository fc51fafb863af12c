"""From what servers offer to what agents see: names, URIs, views, pages, search. Pure: values in, values out.

It fetches nothing and knows no transport, and it decides nothing about who may see what beyond a view's patterns.
Read next: `slices.py` (one server's share), `view.py` (what one endpoint shows).
"""
