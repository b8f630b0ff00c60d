"""The variational autoencoder of clips: what stays the same and what moves are different latents.

Minimises -log p(x|f,z) + w_f KL(q(f|x) || p(f)) + w_z sum_t E KL(q(z_t|f,x) || p(z_t|z_<t)): Li & Mandt 2018
(arXiv:1803.02991), whose bound it is at weights of 1, with the warm-up of both weights of Bowman et al. 2016
(arXiv:1511.06349). What both could say goes where a nat costs less: a lower weight of the content's KL keeps what does
not move out of the motion.

The motion is given to the outside as the noise that drives its prior, z_t = mu_t(z_<t) + sigma_t(z_<t) noise_t: all
latents are standard normal then, and the noise of more frames makes a longer clip. The content's is, in the same way,
the noise that its learned prior bends, where there is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from genjax_art.errors import UsageError, unknown
from genjax_art.keys import fold
from genjax_art.latents import Latents, Spread
from genjax_art.losses.variational import (
    LIKELIHOODS,
    ElboParts,
    Gaussian,
    Likelihood,
    elbo_parts,
    kl_gaussians,
    kl_weight,
)
from genjax_art.objectives.bounds import check_objective
from genjax_art.objectives.method import Method, Weights
from genjax_art.shards import global_normal
from genjax_art.spec import ArraySpec, Batch, Key, Keys, Params
from genjax_art.train.player import Player

VAE = "vae"


def build(
    networks: Mapping[str, nn.Module],
    spec: ArraySpec,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    likelihood: str = "gaussian",
    beta_content: float = 1.0,
    beta_motion: float = 1.0,
    kl_warmup_steps: int = 0,
) -> Method:
    """The player `vae`, with the parameters of its networks and, for likelihoods with one, `log_scale`.

    Args:
      networks: `encoder`, `prior`, `decoder` and maybe `content_prior`, as in `models/video_vae.py`; without the last
        the content's prior is standard normal. A decoder may name the `likelihoods` that it is made for.
      spec: of the data.
      transforms: the optimizer of `vae`.
      likelihood: how the decoder's outputs are read as p(x|f,z): a name in `LIKELIHOODS`, bernoulli, gaussian or
        discretized_logistic.
      beta_content: weight of the content's KL in the loss, after the warm-up.
      beta_motion: weight of the motion's KL in the loss, after the warm-up.
      kl_warmup_steps: training steps over which both weights rise linearly from 0; 0 is their full value from the first
        step on.

    Metrics in nats per clip, whatever the weights: `elbo`, `reconstruction`, `kl_content`, `kl_motion`; and
    `kl_weight`, the share of the weights that holds in this step.

    Raises:
      UsageError: an unknown likelihood or one that the decoder is not for, or an option below 0.
    """
    if likelihood not in LIKELIHOODS:
        raise unknown("likelihood", likelihood, LIKELIHOODS)
    if likelihood not in (made_for := getattr(networks["decoder"], "likelihoods", (likelihood,))):
        raise UsageError(f"this model's decoder is for {' or '.join(made_for)}: --objective.likelihood {made_for[0]}")
    check_objective(0, beta_content=beta_content, beta_motion=beta_motion, kl_warmup_steps=kl_warmup_steps)
    model = _VideoAutoencoder(
        networks["encoder"],
        networks["prior"],
        networks["decoder"],
        networks.get("content_prior"),
        LIKELIHOODS[likelihood],
        spec,
        beta_content,
        beta_motion,
        kl_warmup_steps,
    )
    conditional = bool(model.decoder.classes)
    # a continuation is given frames alone
    proceed = {} if conditional else {"proceed": model.proceed}
    return Method(
        players=(Player(VAE, model.loss, transforms[VAE]),),
        init=model.init,
        draw=model.draw,
        decode=model.decode,
        encode=model.encode,
        classes=spec.classes if conditional else (),
        abilities={"longer": model.longer, "bound": model.bound, **proceed},
    )


@dataclass(frozen=True)
class _VideoAutoencoder:
    """q(f, z|x), p(z) and p(x|f, z) of the parameters, with the options of `build`."""

    encoder: Any
    prior: Any
    decoder: Any
    content_prior: Any  # None: standard normal
    p_x: Likelihood
    spec: ArraySpec
    beta_content: float
    beta_motion: float
    kl_warmup_steps: int

    def loss(self, own: Params, others: Any, extras: Any, batch: Batch, key: Key) -> Any:
        del others
        x, label = batch["x"], self._seen(batch.get("label"))
        noise = self._noise(lambda name, shape: global_normal(fold(key, name), shape), *x.shape[:2])
        parts, kl_content, kl_motion = self.parts(own, x, label, noise)
        step = extras[VAE]["step"]
        share = kl_weight(step, 1.0, self.kl_warmup_steps)
        paid = self.beta_content * kl_content + self.beta_motion * kl_motion
        metrics = {
            "elbo": jnp.mean(parts.elbo),
            "reconstruction": jnp.mean(parts.reconstruction),
            "kl_content": jnp.mean(kl_content),
            "kl_motion": jnp.mean(kl_motion),
            "kl_weight": share,
        }
        return jnp.mean(parts.reconstruction + share * paid), (metrics, {**extras, VAE: {"step": step + 1}})

    def parts(
        self, params: Params, x: Float[Array, "b t h w c"], label: Array | None, noise: Latents
    ) -> tuple[ElboParts, Float[Array, " b"], Float[Array, " b"]]:
        """The bound's two halves for one sample of q, and the KLs of content and motion, nats per clip.

        The motion's is exact in each z_t, given the sampled ones before it; the content's is exact for a standard
        normal prior, and by that f for how much a learned one differs from it.
        """
        content, motion = self.posterior(params, x, noise["content"], label)
        f, z = content.at(noise["content"]), motion.at(noise["motion"])
        kl_content, kl_motion = kl_gaussians(content), kl_gaussians(motion, self.predicted(params, z, label))
        if self.content_prior is not None:  # and log p(f) differs from that of N(0, I)
            bent, volume = self.unbent(params, f)
            kl_content = kl_content + 0.5 * (jnp.sum(bent**2, -1) - jnp.sum(f**2, -1)) - volume
        outputs = self.decoder.apply({"params": params["decoder"]}, f, z, label)
        log_scale = params.get("log_scale", jnp.zeros(()))
        likelihood = self.p_x.log_prob(outputs, x, log_scale, self.spec.low, self.spec.high)
        return elbo_parts(likelihood, kl_content + kl_motion), kl_content, kl_motion

    def posterior(
        self, params: Params, x: Array, noise: Float[Array, "b f"], label: Array | None
    ) -> tuple[Gaussian, Gaussian]:
        """q(f|x), and q(z|f,x) of the f that the noise makes."""
        content, motion = self.encoder.apply({"params": params["encoder"]}, x, noise, label)
        return Gaussian(*content), Gaussian(*motion)

    def unbent(self, params: Params, f: Float[Array, "b f"]) -> tuple[Float[Array, "b f"], Float[Array, " b"]]:
        """The standard normal noise that the prior makes f of, and log |d noise / d f|."""
        if self.content_prior is None:
            return f, jnp.zeros(len(f))
        found: tuple[Array, Array] = self.content_prior.apply({"params": params["content_prior"]}, f)
        return found

    def bent(self, params: Params, noise: Float[Array, "b *t f"]) -> Float[Array, "b *t f"]:
        """The content that the prior makes of noise, of clips or of each frame."""
        if self.content_prior is None:
            return noise
        each, own = noise.reshape(-1, noise.shape[-1]), {"params": params["content_prior"]}
        f: Array = self.content_prior.apply(own, each, method="bend")
        return f.reshape(noise.shape)

    def predicted(self, params: Params, z: Float[Array, "b t m"], label: Array | None) -> Gaussian:
        """p(z_t|z_<t) at every t."""
        return Gaussian(*self.prior.apply({"params": params["prior"]}, z, label))

    def init(self, key: Key) -> tuple[dict[str, Params], dict[str, Any]]:
        x, label = jnp.zeros((2, *self.spec.shape)), self._seen(jnp.zeros((2,), jnp.int32))
        z = self._noise(lambda name, shape: jnp.zeros(shape), *x.shape[:2])
        params: dict[str, Any] = {
            "encoder": self.encoder.init(fold(key, "encoder"), x, z["content"], label)["params"],
            "prior": self.prior.init(fold(key, "prior"), z["motion"], label)["params"],
            "decoder": self.decoder.init(fold(key, "decoder"), z["content"], z["motion"], label)["params"],
        }
        if self.content_prior is not None:
            params["content_prior"] = self.content_prior.init(fold(key, "content_prior"), z["content"])["params"]
        if self.p_x.has_scale:
            params["log_scale"] = jnp.zeros(())
        return {VAE: params}, {VAE: {"step": jnp.zeros((), jnp.int32)}}

    def draw(self, weights: Weights, key: Key, n: int, label: Any, spread: Spread) -> Latents:
        return self.longer(weights, key, n, label, spread, self.spec.shape[0])

    def longer(self, weights: Weights, key: Key, n: int, label: Any, spread: Spread, frames: int) -> Latents:
        """Latents of clips of so many frames; with more, they begin as with fewer."""
        del weights, label

        def one_frame(t: Array) -> Array:
            return spread.normal(jax.random.fold_in(fold(key, "motion"), t), (n, self.decoder.motion))

        motion = jax.vmap(one_frame, out_axes=1)(jnp.arange(frames, dtype=jnp.uint32))
        return {"content": spread.normal(fold(key, "content"), (n, self.decoder.content)), "motion": motion}

    def decode(self, weights: Weights, z: Latents, label: Array | None, keys: Keys | None) -> Array:
        del keys  # the mean of p(x|f,z): noise on pixels is not drawn
        params, label = weights.params[VAE], self._seen(label)
        motion = self.prior.apply({"params": params["prior"]}, z["motion"], label, method="drive")
        outputs = self.decoder.apply({"params": params["decoder"]}, self.bent(params, z["content"]), motion, label)
        return self.p_x.mean(outputs, self.spec.low, self.spec.high)

    def encode(self, weights: Weights, x: Array, label: Array | None, keys: Keys | None) -> Latents:
        params, label = weights.params[VAE], self._seen(label)
        noise = self._noise(lambda name, shape: _each(keys, name, shape), *x.shape[:2])
        content, motion = self.posterior(params, x, noise["content"], label)
        z = motion.at(noise["motion"])
        p = self.predicted(params, z, label)
        f, _ = self.unbent(params, content.at(noise["content"]))
        return {"content": f, "motion": (z - p.mu) * jnp.exp(-0.5 * p.logvar)}

    def proceed(self, weights: Weights, x: Array, given: int, key: Key | None) -> Array:
        """x with new frames after its first `given`: their mean latents, and noise of `key` after them, or none."""
        z = self.encode(weights, x[:, :given], None, None)
        shape = (len(x), x.shape[1] - given, self.decoder.motion)
        rest = jnp.zeros(shape) if key is None else jax.random.normal(fold(key, "motion"), shape)
        motion = jnp.concatenate([z["motion"], rest], 1)
        made = self.decode(weights, {"content": z["content"], "motion": motion}, None, None)
        return jnp.concatenate([x[:, :given], made[:, given:]], 1)

    def bound(self, weights: Weights, x: Array, label: Array | None, keys: Keys) -> dict[str, Float[Array, " b"]]:
        """The evidence lower bound for one sample of q, and its parts, nats per clip."""
        noise = self._noise(lambda name, shape: _each(keys, name, shape), *x.shape[:2])
        parts, kl_content, kl_motion = self.parts(weights.params[VAE], x, self._seen(label), noise)
        found = {"elbo": parts.elbo, "reconstruction": parts.reconstruction}
        return {**found, "kl_content": kl_content, "kl_motion": kl_motion}

    def _noise(self, normal: Any, n: int, frames: int) -> dict[str, Array]:
        """What `normal`(name, shape) gives for content and motion."""
        shapes = {"content": (n, self.decoder.content), "motion": (n, frames, self.decoder.motion)}
        return {name: normal(name, shape) for name, shape in shapes.items()}

    def _seen(self, label: Array | None) -> Array | None:
        return label if self.decoder.classes else None


def _each(keys: Keys | None, name: str, shape: tuple[int, ...]) -> Float[Array, "b *latent"]:
    """Standard normal numbers, by one key for each example; 0 without keys."""
    if keys is None:
        return jnp.zeros(shape)
    return jax.vmap(lambda key: jax.random.normal(fold(key, name), shape[1:]))(keys)
