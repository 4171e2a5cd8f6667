"""``python -m anon`` is ``anon``, where scripts are not on the path."""

from __future__ import annotations

from anon.apps.command import main

if __name__ == "__main__":
    main()
