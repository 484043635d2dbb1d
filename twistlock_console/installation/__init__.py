"""What twistlock.sh and the join script decide about a host before they change it."""
