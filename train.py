"""python train.py experiment=fiva — see anon/apps/train.py and conf/train.yaml."""

from anon.apps.train import main
from anon.commands import in_utf8

if __name__ == "__main__":
    in_utf8()
    main()
