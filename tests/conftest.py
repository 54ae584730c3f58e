"""What all tests share."""

import signal

import pytest
from hypothesis import settings

# The same examples every time, and no deadline: the machine may be busy.
settings.register_profile("sordino", deadline=None, max_examples=20, derandomize=True)
settings.load_profile("sordino")

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Count as slow what starts a sound server, a browser, a cluster or other programs."""
    for item in items:
        if any(item.get_closest_marker(each) for each in ("audio", "browser", "cluster", "tools")):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def voices_folder(tmp_path, monkeypatch):
    """Keep the voice profiles of a test, and of what it starts, apart from the user's."""
    from sordino.voice import profile

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "data" / "sordino" / "voices"
    monkeypatch.setattr(profile, "voices_folder", lambda: folder)
    return folder
