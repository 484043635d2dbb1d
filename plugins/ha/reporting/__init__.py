"""Describe the cluster: page and API view, history, metrics, alerts."""
