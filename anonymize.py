"""python anonymize.py input=photo.jpg output=out.jpg — see anon/apps/anonymize.py and conf/anonymize.yaml."""

from anon.apps.anonymize import main
from anon.commands import in_utf8

if __name__ == "__main__":
    in_utf8()
    main()
