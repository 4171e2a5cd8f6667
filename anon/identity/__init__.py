"""Who a face is: recognizers, weight loading, verification, policies, tracking."""
