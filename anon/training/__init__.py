"""Lightning modules and callbacks: the only room that knows Lightning's hooks."""
