"""The one door for configurations that came with a file: checkpoints, run folders, the index of what ships."""

from anon.apps.untrusted.building import MAX_SIDE, build, check_targets, read_config, trusting
from anon.apps.untrusted.data import Rendered, faces_of, rendered_of

__all__ = ["MAX_SIDE", "Rendered", "build", "check_targets", "faces_of", "read_config", "rendered_of", "trusting"]
