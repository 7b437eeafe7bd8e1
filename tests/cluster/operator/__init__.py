"""The operator against a real API server, real controllers and a node that only claims to run pods (kwok)."""
