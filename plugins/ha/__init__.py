"""High availability: three nodes, one replica set, one of them serves.

Pure: `observation`, `lease`, `decision`, `states`, `status`, `membership_rules`.
Shells around them: `keeper` (acts), `lease_store`, `replica_set`, `heartbeats`,
`membership`, `join`; and the faces: `web`, `commands`, `node_routes`.
"""
