"""Noise and curvature of networks: a thin PyTorch layer, on CPU and CUDA. The only part of gradnoise that needs torch.

Each file is a door to what it lists; what it does not list is for this package alone. To look at a network where it stands:

- `diagnosis` measures all of what follows and says it in `words`; `escape` is Tr(HΣ), its isotropic equivalent and alignment
- `traces` estimates TrH, Tr(HΣ) and expected sharpness, by `exchangeable_trace`; `spectrum` finds leading eigenpairs, in the
  subspace of `krylov`
- `noise_covariance` is Σ of any sampling noise; `gradient_norms` and `gradient_spread` give TrΣ without holding gradients,
  `noise_scale` that of the population, `tails` kurtosis and tail index, `precision` what an autocast adds

To train one with any noise:

- `weights` draws sampling vectors, `batch_weights` those of a batch that a DataLoader has drawn
- `dynamics` has all stochastic gradients by name, `additive_noise` Table 1 of zhu2019, `augmentation` what is done to images,
  `training` the loop, `measures` what is recorded beside losses, `checkpoints` what is kept; `methods` puts dynamics, optimizer
  and schedule together, and `loss_rule` goes by the training loss, as ne2021 does
- `experiments` are those of the papers, of `models` and `data` (`fetch` downloads them) on `devices`, each a task of `tasks`;
  `comparison` runs them all, `sweeps` what is planned, with `sweep_states` for what has become of it
- `data_files` reads the files of `data`, `images` says what must be in them

Below both is `loss_operators`: G, H, Σ and the Fisher matrix as products with vectors, for any network and loader. What is below
it belongs together:

- `batches` reads data of any form, `sample_losses` makes a loss for each sample of them, `chunks` tells how many fit at once
- `independence` refuses losses that are random or depend on other samples, but for the `ghosts` of a training; `checked_states`
  tells when that is to be seen again
- `derivatives` and `hessian` take the first of several ways that is right for a network; `kernels` replaces those of torch that
  cannot be differentiated twice; `vectors` checks what they are multiplied with
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "gradnoise.simulations.neural needs PyTorch: pip install 'gradnoise[neural]'", name="torch"
    ) from error
