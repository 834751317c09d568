"""`hyperpeft info`: what is installed, what it runs on, which generators come with it."""

from rich.table import Table

from hyperpeft.cli.console import print_json, results
from hyperpeft.cli.options import AsJson


def info_command(json: AsJson = False) -> None:
    """Print versions, devices, fast dtypes, and the generators inside the package with where they came from."""
    from hyperpeft.cli.facts import installed

    facts = installed()
    if json:
        print_json(facts)
        return
    for title, value in facts.items():
        table = Table(title=title, show_header=False, title_justify="left")
        for name, one in value.items() if isinstance(value, dict) else [("", value)]:
            table.add_row(name, _plain(one))
        results().print(table)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
