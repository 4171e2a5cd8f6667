"""python evaluate.py experiment=fiva — see anon/apps/evaluate.py and conf/evaluate.yaml."""

from anon.apps.evaluate import main
from anon.commands import in_utf8

if __name__ == "__main__":
    in_utf8()
    main()
