"""What outlives the process: one small contract, several keepers.

Nothing on a call's path waits for a store. Read next: `contract.py`.
"""
