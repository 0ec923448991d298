"""Weights with which training starts as the best linear model that the network can express.

A linear VAE has its optimum in closed form: probabilistic PCA (Tipping and Bishop, 1999; Lucas et al., 2019). From
random weights the paper's network needs tens of thousands of steps to get as far. But it holds a linear autoencoder
already:

- the 2x2 taps in the middle of a 4x4 kernel of stride 2 cut an image into blocks without overlap, so that each layer of
  the encoder can be a PCA of the blocks of 2x2 below it, and the decoder's layers the way back;
- batch normalisation can lift a channel until ReLU is the identity on all values that occur;
- the fully connected layers then are a PCA of the deepest map.

A quarter of each layer's channels is left out of this and starts as random features. They are rectified where they are
normalised, so that they measure the size of what passes through them. `log sigma_z^2` and `log sigma_x^2` are regressed
on the random features of the last hidden layers, since how much of an image is missed depends on the image; with one
sigma for all images, M would be the residual of a PCA. The last channel of each hidden layer of the decoder is one
constant, which carries the means.

The linear channels have no use for batch statistics, and their noise harms them: train with
`TrainConfig(start="linear", batch_statistics="fixed")`.
"""

from jaxunreg.models.linear_start.start import PIXELS, linear_autoencoder, linear_vae

__all__ = ["PIXELS", "linear_autoencoder", "linear_vae"]
