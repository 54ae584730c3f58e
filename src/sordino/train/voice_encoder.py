"""The network of the voice encoder: a small residual TDNN with attentive pooling.

Shapes: B batch, T frames of 10 ms, N every second one of them, C channels.

Sources: time-delay networks (Snyder et al., "X-vectors", ICASSP 2018); attentive statistics
pooling (Okabe et al., Interspeech 2018); squeeze-and-excitation and the sum over layers as in
ECAPA-TDNN (Desplanques et al., Interspeech 2020); learning from the embeddings of a larger
network and their likeness to each other (Park et al., "Relational knowledge distillation",
CVPR 2019).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sordino.voice.encoder import MELS, SIZE

VOICE_ENCODER = "voice-encoder"  # kind of a recipe


@dataclass(frozen=True)
class EncoderConfig:
    """Size of the voice encoder.

    Attributes:
        channels: of the residual stream.
        inner: channels of the convolutions over time.
        dilations: of the convolutions over time, one a block.
        pooled: channels that mean and deviation are taken of.
        attention: units of the attention of the pooling.
    """

    channels: int = 224
    inner: int = 96
    dilations: tuple[int, ...] = (1, 2, 3, 4, 1, 2, 3, 4)
    pooled: int = 384
    attention: int = 64


class _Block(nn.Module):
    """A bottleneck over time whose channels are weighed by their mean over time."""

    def __init__(self, config: EncoderConfig, dilation: int) -> None:
        super().__init__()
        wide, inner = config.channels, config.inner
        self.path = nn.Sequential(
            nn.Conv1d(wide, inner, 1, bias=False),
            nn.BatchNorm1d(inner),
            nn.ReLU(),
            nn.Conv1d(inner, inner, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm1d(inner),
            nn.ReLU(),
            nn.Conv1d(inner, wide, 1, bias=False),
            nn.BatchNorm1d(wide),
        )
        self.squeeze, self.excite = nn.Linear(wide, inner // 2), nn.Linear(inner // 2, wide)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) to the same."""
        y = self.path(x)
        weight = torch.sigmoid(self.excite(functional.relu(self.squeeze(y.mean(2)))))
        return functional.relu(x + y * weight[:, :, None])


class VoiceEncoderNetwork(nn.Module):
    """Maps a filterbank to an embedding of unit norm.

    Args:
        config: its size.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        wide = config.channels
        self.first = nn.Sequential(
            nn.Conv1d(MELS, wide, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(wide),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList([_Block(config, d) for d in config.dilations])
        self.gather = nn.Conv1d(3 * wide, config.pooled, 1)
        self.attend = nn.Sequential(
            nn.Conv1d(config.pooled, config.attention, 1),
            nn.Tanh(),
            nn.Conv1d(config.attention, config.pooled, 1),
        )
        self.norm = nn.BatchNorm1d(2 * config.pooled)
        self.out = nn.Linear(2 * config.pooled, SIZE)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, 80) to (B, 192)."""
        x = self.first(features.transpose(1, 2))
        layers: list[Tensor] = []
        for block in self.blocks:
            x = block(x)
            layers.append(x)
        count = len(layers)
        kept = [layers[count * part // 3 - 1] for part in (1, 2, 3)]
        x = functional.relu(self.gather(torch.cat(kept, 1)))
        share = torch.softmax(self.attend(x), 2)
        mean = (share * x).sum(2)
        deviation = ((share * x.square()).sum(2) - mean.square()).clamp_min(1e-4).sqrt()
        return functional.normalize(self.out(self.norm(torch.cat([mean, deviation], 1))), dim=1)


def distillation_loss(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """How far embeddings are from those of a teacher.

    Args:
        student: of unit norm, shape = (B, 192).
        teacher: of unit norm, same shape.

    Returns:
        "cosine": 1 minus the mean similarity to the teacher's; "relation": mean squared error
        of the similarities of all pairs of a batch.
    """
    cosine = 1 - (student * teacher).sum(1).mean()
    apart = student @ student.T - teacher @ teacher.T
    return {"cosine": cosine, "relation": apart.square().mean()}
