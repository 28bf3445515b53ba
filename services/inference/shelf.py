"""The bundles in use: found in folders, reloaded when they change. A broken one never replaces one that works."""

import logging
from collections.abc import Sequence
from pathlib import Path

from services.inference.bundle import MANIFEST, MODEL, Bundle, BundleError, load_bundle, read_manifest

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int, int]  # mtime and size of manifest and model


class Shelf:
    """Bundles by name.

    Args:
        places: bundle folders, or folders of bundle folders.
        references: names of the reference bundles that judge, too.
    """

    def __init__(self, places: Sequence[Path], references: Sequence[str] = ()) -> None:
        self._places, self._references = places, references
        self._stamps: dict[Path, Stamp] = {}
        self._names: dict[Path, str] = {}
        self.bundles: dict[str, Bundle] = {}
        self.refused = 0

    def refresh(self) -> bool:
        """Look at the folders (a stat a file) and load what is new; return whether a bundle came, changed or went."""
        folders = self._folders()
        changed = False
        for folder in set(self._stamps) - set(folders):
            del self._stamps[folder]
            changed = self._drop(folder) or changed
        for folder in folders:
            stamp = _stamp(folder)
            if self._stamps.get(folder) != stamp:
                self._stamps[folder] = stamp
                changed = self._load(folder) or changed
        return changed

    def _folders(self) -> list[Path]:
        found: list[Path] = []
        for place in self._places:
            if (place / MANIFEST).exists():
                found.append(place)
            elif place.is_dir():
                found += sorted(path.parent for path in place.glob(f"*/{MANIFEST}"))
        return found

    def _drop(self, folder: Path) -> bool:
        name = self._names.pop(folder, None)
        if name is not None:
            log.info("bundle %s is gone", self.bundles.pop(name).manifest.id)
        return name is not None

    def _load(self, folder: Path) -> bool:
        try:
            manifest = read_manifest(folder / MANIFEST)
            if manifest.purpose == "reference" and manifest.name not in self._references:
                log.info("bundle %s in %s is a reference: not used", manifest.id, folder)
                return self._drop(folder)
            bundle = load_bundle(folder)
            name = bundle.manifest.name
            holder = next((other for other, known in self._names.items() if known == name and other != folder), None)
            if holder is not None:
                raise BundleError(folder / MANIFEST, "name", f"{name} is already loaded from {holder}")
        except BundleError as error:
            self.refused += 1
            kept = self._names.get(folder)
            log.error("bundle refused: %s%s", error, f"; {self.bundles[kept].manifest.id} stays in use" if kept else "")
            return False
        before = self._names.get(folder)
        if before is not None and before != name:
            del self.bundles[before]
        self._names[folder] = name
        self.bundles[name] = bundle
        log.info("bundle %s from %s", bundle.manifest.id, folder)
        return True


def _stamp(folder: Path) -> Stamp:
    numbers: list[int] = []
    for name in (MANIFEST, MODEL):
        try:
            stat = (folder / name).stat()
        except OSError:
            numbers += [0, 0]
        else:
            numbers += [stat.st_mtime_ns, stat.st_size]
    return numbers[0], numbers[1], numbers[2], numbers[3]
