"""``python -m fedmeki_bench`` is ``fedmeki-bench``."""

from fedmeki_bench.cli.main import run

if __name__ == "__main__":
    run()
