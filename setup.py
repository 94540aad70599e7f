"""Package layout: app/ and migrations/ are installed inside doorward_service/."""

from setuptools import find_namespace_packages, setup

HOME = "doorward_service"
FOLDERS = ("app", "migrations")

setup(
    packages=[
        HOME,
        *(
            f"{HOME}.{name}"
            for name in find_namespace_packages(
                include=[*FOLDERS, *(f"{folder}.*" for folder in FOLDERS)]
            )
        ),
    ],
    package_dir={f"{HOME}.{folder}": folder for folder in FOLDERS},
)
