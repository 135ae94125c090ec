"""moto-files.py: print the files of moto's server, of the packages that it needs, and of Python itself."""

import importlib.metadata
import pathlib
import re
import sys
import sysconfig

from pip._vendor.packaging.requirements import Requirement

done = set()


def package(name, extras=()):
    """Print a package's files and those of what it requires."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    if (name, extras) in done:
        return
    done.add((name, extras))
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return  # an optional one
    for file in found.files or []:
        path = pathlib.Path(found.locate_file(file)).resolve()
        if path.is_file() and path.suffix != ".pyc":
            print(path)
    for text in found.requires or []:
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in ("", *extras)):
            package(one.name, tuple(sorted(one.extras)))


package("moto", ("server",))
package("setuptools")
library = pathlib.Path(sysconfig.get_path("stdlib"))
for path in library.rglob("*"):
    parts = path.relative_to(library).parts
    if path.is_file() and path.suffix != ".pyc" and parts[0] not in ("site-packages", "dist-packages", "test", "idlelib", "ensurepip"):
        print(path)
print(pathlib.Path(sys.executable).resolve())
