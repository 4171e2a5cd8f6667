"""Published face data sets in the layout in which they are published, see :mod:`anon.faces.collections.contract`."""
