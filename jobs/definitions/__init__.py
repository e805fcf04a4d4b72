"""Job definitions: the classes that users write."""
