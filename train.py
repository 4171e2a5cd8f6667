"""python train.py experiment=fiva — see anon/apps/train.py and conf/train.yaml."""

from anon.apps.train import main

if __name__ == "__main__":
    main()
