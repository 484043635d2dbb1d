"""Decisions of twistlock.sh and the join script about a host, before they change it."""
