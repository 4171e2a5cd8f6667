"""The product: encoder, policy and generator composed, behind one call."""
