"""Run folders: the one of this run, those of the past, and how one of them goes on.

folder    what a run keeps, and who may work there
started   by which words a run was begun
past      the last run, and the one that a requeued job began
newest    ``last:<experiment>`` in a configuration
resume    the configuration with which a run goes on
"""
