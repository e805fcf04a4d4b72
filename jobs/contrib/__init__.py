"""What other frameworks need to use jobs. Each module needs the extra of its name."""
