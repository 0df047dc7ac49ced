"""Files as public code bases lay them out, streamed and read slowly."""
