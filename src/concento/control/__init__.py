"""The control plane: configuration → checked values → differences → published snapshots; inventories kept fresh.

No call passes through here, and nothing here knows agents, their sessions or the listeners.
Read next: `config/` (what a configuration file may say), then `federation.py` (what servers offer, kept true).
"""
