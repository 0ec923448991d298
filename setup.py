"""What `pyproject.toml` cannot say: a wheel has the studies of `experiments/` as `jaxunreg.experiments`."""

from setuptools import find_packages, setup

studies = find_packages(include=["experiments", "experiments.*"])
setup(
    packages=[*find_packages(include=["jaxunreg", "jaxunreg.*"]), *(f"jaxunreg.{name}" for name in studies)],
    package_dir={"jaxunreg.experiments": "experiments"},
)
