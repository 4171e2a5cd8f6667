"""Lightning callbacks of every training: when it stops and is saved, what it says, what ends it."""
