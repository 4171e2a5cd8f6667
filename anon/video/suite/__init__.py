"""``python evaluate.py suite=video``: what becomes of the faces of clips under ``anon anonymize``, as an evaluation."""
