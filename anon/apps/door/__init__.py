"""The door of ``train.py`` and ``evaluate.py``: what is wrong is said in one sentence before anything is made.

words     the command line, before Hydra reads it, and what Hydra has to say of it
config    the composed configuration: the parts that it names, their settings, and no setting that nothing reads
parts     every ``_target_`` is there and takes what it is given, by its signature
limits    what a number may be
threads   whether several threads are slower here than one
"""
