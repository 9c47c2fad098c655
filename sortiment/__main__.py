"""`python -m sortiment` is the `sortiment` command."""

from sortiment.cli import main

if __name__ == "__main__":
    main()
