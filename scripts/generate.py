"""Make an adapter: python scripts/generate.py -d "Route each message to a team." -e tickets.csv -o out/routing"""

import sys

from hyperpeft.cli import main

if __name__ == "__main__":
    main(["generate", *sys.argv[1:]])
