"""For nightly-backup.yaml: whether packs look like those of the last time."""

import json
from pathlib import Path


def compare(packs, history, max_shrink):
    """Raise an error if a pack is empty or has lost more than `max_shrink` of its size; else remember the sizes."""
    path = Path(history)
    before = json.loads(path.read_text()) if path.exists() else {}
    now = {pack["file"]: pack["bytes"] for pack in packs}
    for file, size in now.items():
        least = before.get(file, 0) * (1 - max_shrink)
        if size <= least:
            raise ValueError(f"{file} has {size} bytes; last time it had {before.get(file, 0)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(now))
    return {"files": len(now), "bytes": sum(now.values())}
