"""Herald delivered by the real Argo CD: its repository server and its controller, beside a cluster of this machine."""
