"""What every Herald process stands on: logs, metrics, secrets from files, NATS transport, signals.

The services know nothing of each other; what they would otherwise both have to write is here, once.
"""
