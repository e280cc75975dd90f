"""``python -m fedmeki_bench`` is ``fedmeki-bench``."""

from fedmeki_bench.cli.main import main

if __name__ == "__main__":
    main()
