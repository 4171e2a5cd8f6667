"""Subject-specific swap tools: one encoder for two people, one decoder for each, switched at conversion."""
