"""Keep the outbox, the policy and the status on disk."""
