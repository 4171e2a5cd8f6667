"""python evaluate.py experiment=fiva — see anon/apps/evaluate.py and conf/evaluate.yaml."""

from anon.apps.evaluate import main

if __name__ == "__main__":
    main()
