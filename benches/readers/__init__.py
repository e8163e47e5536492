"""The inputs of readers_vs_peers.py."""
