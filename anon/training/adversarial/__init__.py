"""Parts of an adversarial step: the critic, the averaged weights, and what is asked before and after it."""
