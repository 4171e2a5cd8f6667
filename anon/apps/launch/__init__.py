"""How a command runs as a process.

entry       compose the configuration, run, exit
failures    exit codes, and the sentence for what the user can mend
multirun    many jobs of one command, and what a search is told
ranks       which of a training's processes this one is, and those that it starts beside itself
preemption  signals that ask a training to stop; SLURM's queue
memory      freed memory stays with the process
"""
