"""How a settings file is read, whatever its keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyflowd.errors import Refused
from pyflowd.language import settings_file


@pytest.mark.parametrize("place", ["file", "folder"])
def test_settings_that_others_could_have_written_are_refused_where_it_matters(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    file = folder / "pyflowd.yaml"
    file.write_text("max_tasks: 3\n")
    assert settings_file.load(str(file), strict=True) == b"max_tasks: 3\n"
    (file if place == "file" else folder).chmod(0o777)
    with pytest.raises(Refused, match=r"can be written by everybody.*: chmod go-w .*umask"):
        settings_file.load(str(file), strict=True)
    assert settings_file.load(str(file)) == b"max_tasks: 3\n"
