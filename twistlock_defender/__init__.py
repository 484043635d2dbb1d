"""The Defender: the agent that enforces the Console's policy on a host."""
