"""The command line: one file per group of verbs."""


def main() -> None:
    """Run the command line with the arguments of the process."""
    from .app import main as run

    run()
