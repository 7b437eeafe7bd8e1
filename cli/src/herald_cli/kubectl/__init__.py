"""`kubectl herald`: what `herald` is on one machine, for deployments in a cluster.

It asks the API server with the rights of whoever types it, and has none of its own. What only the pods can reach (the
database, NATS) is asked in a pod.
"""
