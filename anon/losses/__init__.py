"""What training wants: each loss is one pure function and one thin module."""
