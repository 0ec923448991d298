"""Weights with which training starts as the best linear model that the network can express.

The optimum of a linear VAE has a closed form: probabilistic PCA. From random weights the paper's network needs tens of
thousands of steps to get as far. But the network already contains a linear autoencoder:

- the 2x2 taps in the middle of a 4x4 kernel of stride 2 cut an image into blocks without overlap. So each layer of the
  encoder can be a PCA of the 2x2 blocks below it, and the decoder's layers invert it;
- batch normalisation can lift a channel until ReLU is the identity on all values that occur;
- the fully connected layers are then a PCA of the deepest map.

A quarter of each layer's channels is not linear, or a thirty-second where the latent space has more dimensions than the
linear channels would carry: they start as random features. They are normalised and rectified, so
they measure the size of what passes through them. The reconstruction error depends on the image. So `log sigma_z^2` and
`log sigma_x^2` are regressed on the random features of the last hidden layers. With one sigma for all images, M would
be the residual of a PCA. The last channel of each hidden layer of the decoder is a constant that carries the means.

The principal components do not tell how much of an image they miss. With a level, the last few latent variables do,
and sigma follows them; see `jaxunreg.models.linear_start.level`.

The linear channels have no use for batch statistics, and their noise harms them: train with
`TrainConfig(start="linear", batch_statistics="fixed")`.

References:
  Tipping, M. E. and Bishop, C. M. Probabilistic Principal Component Analysis. JRSS B 61, 1999.
  Lucas, J. et al. Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse. NeurIPS 2019.
"""

from jaxunreg.models.linear_start.start import PIXELS, linear_autoencoder, linear_vae

__all__ = ["PIXELS", "linear_autoencoder", "linear_vae"]
