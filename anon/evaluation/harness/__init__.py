"""One evaluation for every method, attack and metric: combinations as data, everything between kept under its key."""
