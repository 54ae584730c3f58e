"""What training minimises.

All terms are computed on waveforms that are scaled by the level of the noisy input, so
that a quiet example counts as much as a loud one, and are means over the examples of
means over each example, so that the gradient of a batch is the mean of the gradients of
its halves (which distributed training relies on).

Sources: compressed spectral loss (Ephrat et al., "Looking to listen", 2018; Braun and
Tashev, "A consolidated view of loss functions", 2021); over-suppression term (Eskimez et
al., "Personalized speech enhancement", 2022).
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sordino.train.layers import erb_rate


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms.

    Attributes:
        windows: window lengths of the spectral losses, in seconds.
        power: exponent that magnitudes are compressed with.
        magnitude: weight of the squared error of compressed magnitudes.
        phase: weight of the squared error of compressed complex spectra.
        over: extra weight of magnitudes that fall short of the clean ones (suppressed speech).
        sdr: weight of the signal-to-distortion ratio of the waveform, per dB.
        bands: weight of the same ratio in auditory (ERB) bands, their mean, per dB.
        attenuation: weight of the level that speech loses (its projection on the clean
            speech), per dB.
        residual: weight of the level that noise keeps where there is no speech, per dB.
        speech: weight of the cross entropy of the speech probability.
        noise: weight of the cross entropy of the presence of noise.
        target: weight of the cross entropies of which voice of a batch speaks when.
        teacher: share of all terms above that compares with the estimate of a teacher instead of
            the clean speech, where a run has one.
        start: extra weight of the first second of an example in the spectral terms and in the
            presence of noise, so that a cold start does not take speech for noise.
        dnsmos: weight of 5 minus the predicted opinion score (DNSMOS P.835, overall), at 16 kHz
            and above; 0 leaves it out.  See `sordino.train.losses.dnsmos`.
        dnsmos_share: share of the batches that the score is predicted for, with a weight that
            makes up for the others; it doubles the cost of a step.
        pesq: weight of the perceptual disturbance of PESQ, in its raw points, at 16 kHz and
            above; 0 leaves it out.  See `sordino.train.losses.pesq`.
        estoi: weight of 1 minus ESTOI, at 16 kHz and above; 0 leaves it out.  See
            `sordino.train.losses.estoi`.
        llr: weight of the distance between the spectral envelopes (log-likelihood ratio),
            at 16 kHz and above; 0 leaves it out.  See `sordino.train.losses.llr`.
    """

    windows: tuple[float, ...] = (0.008, 0.02, 0.05)
    power: float = 0.3
    magnitude: float = 2.0
    phase: float = 0.3
    over: float = 0.3
    sdr: float = 0.01
    bands: float = 0.0
    attenuation: float = 0.008
    residual: float = 0.0
    speech: float = 0.02
    noise: float = 0.05
    target: float = 0.0
    teacher: float = 0.5
    start: float = 0.0
    dnsmos: float = 0.0
    dnsmos_share: float = 1.0
    pesq: float = 0.0
    estoi: float = 0.0
    llr: float = 0.0


LATELY = 50  # frames of 10 ms for which a noise counts as present after it
BAND_SECONDS = 0.032  # window of the distortion in bands
BAND_ERB = 2.0  # width of a band in equivalent rectangular bandwidths; the lowest is rumble


@lru_cache(maxsize=32)
def _window(size: int, device: torch.device) -> Tensor:
    window = torch.hann_window(size, device=device)
    return window / window.square().sum().sqrt()


def _spectrum(x: Tensor, size: int) -> Tensor:
    """Complex frames with 50 % overlap; white noise of unit power has unit bins."""
    frames = x.unfold(-1, size, size // 2)
    return torch.fft.rfft(frames * _window(size, x.device))


def _frame_power(x: Tensor, hop: int) -> Tensor:
    """Mean square of each whole frame of `hop` samples, shape = (B, N // hop)."""
    return x.unfold(-1, hop, hop).square().mean(-1)


def _frequencies(bins: int, rate: int) -> Tensor:
    """Hz of the bins of a spectrum."""
    return torch.arange(bins) * (rate / (2 * bins - 2))


def _known(spectrum: Tensor, bandwidth: Tensor, rate: int) -> Tensor:
    """1 for each bin under the bandwidth of its example, else 0, shape = (B, bins)."""
    hz = _frequencies(spectrum.shape[-1], rate).to(spectrum.device)
    return (hz < bandwidth[:, None]).to(spectrum.real.dtype)


def start_weight(frames: int, rate: float, start: float, device: torch.device) -> Tensor:
    """Weights of frames with a mean of 1, the first second's `1 + start` times the others'.

    Args:
        frames: number of frames.
        rate: frames per second.
        start: extra weight of the first second.
        device: of the result.

    Returns:
        Shape = (frames,).
    """
    weight = torch.ones(frames, device=device)
    weight[: round(rate)] += start
    return weight / weight.mean()


def spectral_loss(
    estimate: Tensor, clean: Tensor, bandwidth: Tensor, rate: int, config: LossConfig
) -> dict[str, Tensor]:
    """Compressed spectral errors, averaged over the resolutions; the first second counts more.

    Args:
        estimate: waveform, shape = (B, N), in units of the input's level.
        clean: its target, same shape.
        bandwidth: Hz above which the target is unknown, shape = (B,).
        rate: sample rate in Hz.
        config: weights and resolutions.

    Returns:
        The terms "magnitude", "phase" and "over", unweighted.
    """
    floor = 1e-7
    half = config.power / 2
    none = estimate.new_zeros(())
    terms = {"magnitude": none, "phase": none, "over": none}
    for seconds in config.windows:
        size = 2 * round(seconds * rate / 2)
        s, e = _spectrum(clean, size), _spectrum(estimate, size)
        ps, pe = s.real**2 + s.imag**2 + floor, e.real**2 + e.imag**2 + floor
        ms, me = ps.pow(half), pe.pow(half)
        known = _known(s, bandwidth, rate)
        known = (known / known.sum(-1, keepdim=True).clamp_min(1))[:, None]
        gap = ms - me
        cs, ce = ms * ps.rsqrt(), me * pe.rsqrt()
        error = (s.real * cs - e.real * ce) ** 2 + (s.imag * cs - e.imag * ce) ** 2
        for name, value in (
            ("magnitude", gap.square()),
            ("phase", error),
            ("over", gap.clamp_min(0).square()),
        ):
            frames = (value * known).sum(-1)
            weight = start_weight(frames.shape[-1], 2 * rate / size, config.start, frames.device)
            terms[name] = terms[name] + (frames * weight).mean() / len(config.windows)
    return terms


def waveform_loss(estimate: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """Distortion and loss of level of the waveform, in dB, for examples with speech.

    Args:
        estimate: waveform, shape = (B, N), in units of the input's level.
        clean: its target; examples whose target is all but silent do not count.

    Returns:
        "sdr": 10 log10 of the error relative to the clean speech, softly limited at
        -30 dB; "attenuation": fall in level, dB, of what follows the clean speech (0 if it rises).
    """
    energy = clean.square().mean(-1)
    active = (energy > 1e-4).to(clean.dtype)
    energy = energy.clamp_min(1e-4)
    error = (estimate - clean).square().mean(-1) / energy
    sdr = 10 * torch.log10(error + 1e-3)
    gain = ((estimate * clean).mean(-1) / energy).clamp_min(1e-2)
    attenuation = (-20 * torch.log10(gain)).clamp_min(0)
    return {"sdr": (sdr * active).mean(), "attenuation": (attenuation * active).mean()}


@lru_cache(maxsize=32)
def _bands(bins: int, rate: int, device: torch.device) -> Tensor:
    """Which bins lie in which band, shape = (bins, bands)."""
    number = (erb_rate(_frequencies(bins, rate).numpy()) // BAND_ERB).astype(int) - 1
    inside = np.arange(number.max() + 1) == number[:, None]
    return torch.from_numpy(inside.astype(np.float32)).to(device)


def band_distortion(estimate: Tensor, clean: Tensor, bandwidth: Tensor, rate: int) -> Tensor:
    """Distortion relative to the clean speech in bands of hearing, in dB, their mean.

    The ratio of the whole waveform is made below 1 kHz, where the energy is; here a band
    of fricatives counts as much as one of vowels.

    Args:
        estimate: waveform, shape = (B, N), in units of the input's level.
        clean: its target, same shape.
        bandwidth: Hz above which the target is unknown, shape = (B,).
        rate: sample rate in Hz.

    Returns:
        Mean over the examples, softly limited at -30 dB in every band; bands that hold next
        to no speech do not count, nor do examples without any.
    """
    size = 2 * round(BAND_SECONDS * rate / 2)
    s, e = _spectrum(clean, size), _spectrum(estimate, size)
    inside = _bands(s.shape[-1], rate, s.device)
    known = _known(s, bandwidth, rate)
    error, power = (((x.real**2 + x.imag**2).mean(-2) * known) @ inside for x in (s - e, s))
    total = power.sum(-1, keepdim=True)
    counts = ((power > 1e-6 * total) & (total > 1e-3)).to(power.dtype)
    ratio = 10 * torch.log10(error / power.clamp_min(1e-9) + 1e-3) * counts
    return (ratio.sum(-1) / counts.sum(-1).clamp_min(1)).mean()


def residual_loss(estimate: Tensor, noise: Tensor, speech: Tensor, rate: int) -> Tensor:
    """Level of the estimate under the noise where nobody speaks, in dB.

    Args:
        estimate: waveform, shape = (B, M).
        noise: in the sound it was made of, in units of that sound's level, shape = (B, N), N >= M.
        speech: activity of the target in frames of 10 ms, shape = (B, T).
        rate: sample rate in Hz.

    Returns:
        Mean over the examples, softly limited at -40 dB; 0 for one that has less than 0.1 s
        without speech, or nothing to be heard there.
    """
    hop = rate // 100
    frames = min(estimate.shape[-1] // hop, speech.shape[-1])
    quiet = 1 - speech[:, :frames]
    left, there = ((_frame_power(x, hop)[:, :frames] * quiet).sum(-1) for x in (estimate, noise))
    counts = ((quiet.sum(-1) >= 10) & (there > 1e-4)).to(left.dtype)
    level = 10 * torch.log10(left / there.clamp_min(1e-4) + 1e-4)
    return (level * counts).mean()


def noise_presence(noise: Tensor, rate: int) -> Tensor:
    """1 for each frame of 10 ms that has noise in it or less than 0.5 s before it, else 0.

    A constant offset is no noise: it is removed from the network's input.

    Args:
        noise: in units of the noisy sound's level, shape = (B, N); above -40 dB it counts.
        rate: sample rate in Hz.

    Returns:
        Shape = (B, T), T = N // hop.
    """
    power = _frame_power(noise - noise.mean(-1, keepdim=True), rate // 100)
    lately = functional.max_pool1d(functional.pad(power, (LATELY, 0)), LATELY + 1, 1)
    return (lately > 1e-4).to(power.dtype)


def total_loss(
    estimate: Tensor,
    batch: tuple[Tensor, Tensor, Tensor, Tensor],
    logits: tuple[Tensor, Tensor],
    rate: int,
    config: LossConfig,
    target: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of all terms.

    Args:
        estimate: waveform, shape = (B, M), M <= N.
        batch: noisy (B, N), clean (B, N), bandwidth (B,) in Hz, speech activity (B, T).
        logits: of the presence of speech and of noise, shape = (B, T) each.
        rate: sample rate in Hz.
        config: weights.
        target: activity of what is to be kept (B, T), where that is not all speech.

    Returns:
        The loss and its unweighted terms.
    """
    noisy, clean, bandwidth, speech = batch
    n = estimate.shape[-1]
    level = noisy[:, :n].square().mean(-1, keepdim=True).sqrt().clamp_min(1e-5)
    noise = (noisy - clean) / level
    estimate, clean = estimate / level, clean[:, :n] / level
    terms = spectral_loss(estimate, clean, bandwidth, rate, config)
    terms |= waveform_loss(estimate, clean)
    terms["bands"] = band_distortion(estimate, clean, bandwidth, rate)
    kept = speech if target is None else target
    terms["residual"] = residual_loss(estimate, noise, kept, rate)
    for name, logit, there in (
        ("speech", logits[0], speech),
        ("noise", logits[1], noise_presence(noise, rate)),
    ):
        weight = start_weight(there.shape[-1], 100, config.start, there.device)
        terms[name] = functional.binary_cross_entropy_with_logits(logit, there, weight)
    weighted = [getattr(config, name) * value for name, value in terms.items()]
    return torch.stack(weighted).sum(), terms
