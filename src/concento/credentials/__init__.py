"""What servers are shown of the hub: tokens that are fetched and renewed. Static ones are header fields of a replica's.

Deliberately not: what agents show the hub (`front/identity`). A caller's token never gets here.
"""
