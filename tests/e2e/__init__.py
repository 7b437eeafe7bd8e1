"""Herald on a node: real pods from real images, installed as people install it."""
