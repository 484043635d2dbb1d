"""The Defender: the agent that keeps a host under the Console's policy."""
