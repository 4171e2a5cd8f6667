"""Where the faces are: published detectors behind one call, see :mod:`anon.faces.detection.contract`."""
