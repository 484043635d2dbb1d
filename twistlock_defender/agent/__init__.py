"""Put the Defender together and run it."""
