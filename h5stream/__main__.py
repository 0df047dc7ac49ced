"""``python -m h5stream`` is the command ``h5stream``."""

from h5stream.cli import app

if __name__ == "__main__":
    app(prog_name="h5stream")
