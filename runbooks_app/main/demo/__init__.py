"""The demo: an orders shop in trouble, people, a channel, and the service itself, on one machine."""
