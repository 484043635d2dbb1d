"""High availability: three nodes, one replica set, one of them serves.

`consensus` decides, as pure functions; `controller` acts on it. Below them are
`replication` and `peers`, above them `membership`, `reporting`, and what others see:
`web`, `cli` and `routes`.
"""
