"""What the agent remembers about a user from one conversation to the next."""
