"""A Kubernetes of one's own on this machine, from packages only: for tests, and for a look at Herald on a cluster.

cluster = start(Path(".cluster"))
cluster.kubectl("get", "namespaces")
cluster.stop()
"""

from tools.cluster.client import Client
from tools.cluster.cluster import Cluster
from tools.cluster.lifecycle import attach, start
from tools.cluster.teardown import stop
from tools.cluster.trouble import Trouble

__all__ = ["Client", "Cluster", "Trouble", "attach", "start", "stop"]
