"""Face Anonymization Made Simple: a denoiser that two reference networks show a source and a driving picture."""
