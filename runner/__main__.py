"""`python -m runner` is `veles-run`."""

from runner.cli.run import main

if __name__ == "__main__":
    main()
