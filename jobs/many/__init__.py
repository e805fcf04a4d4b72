"""Many instances at once: found by what they are and what they do, and told what to do."""
