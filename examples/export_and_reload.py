"""The scorer as a file: any program with JAX can score batches of any size with it, without this package.

python -m examples.export_and_reload
"""

import tempfile
from pathlib import Path

import jax
import jax.export
import numpy as np

import jaxunreg as ju
from examples.trained import held_out, score, trained


def main(steps: int = 200) -> float:
    """Return the largest difference in M between Python and the file over 128 images, in nats."""
    scorer = trained(steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scorer.jaxexport")
        ju.export_scorer(scorer, path, dtype="uint8")
        print(f"{path.name}: {path.stat().st_size:,} bytes; {path.name}.json says what is in it")

        # The other program starts here: it uses only JAX.
        exported = jax.export.deserialize(bytearray(path.read_bytes()))
    print(f"runs on {', '.join(exported.platforms)}; takes {exported.in_avals[0]}")
    images = held_out(128)
    want = score(scorer, images)
    for batch in (1, 128):
        d, a, m = exported.call(images[:batch])
        np.testing.assert_allclose(d + a + m, want.nelbo[:batch], rtol=1e-3)
        difference = float(np.max(np.abs(m - want.m[:batch])))
        print(f"batch of {batch}: M differs by at most {difference:.1g} nats from Python's")
    return difference


if __name__ == "__main__":
    main()
