"""Where tracking events go: HTTP, memory, nowhere."""
