"""What people write: Kubernetes resources of group herald.dev."""
