"""Write adapters for other programs: python scripts/export.py out/routing --format peft -o out/peft"""

import sys

from hyperpeft.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
