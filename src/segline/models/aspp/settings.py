"""The keys of the networks with DeepLab's atrous spatial pyramid pooling of 2017."""

from __future__ import annotations

from segline.models.encoder_settings import Auxiliary, Dilated, Dropout, EncoderSettings
from segline.settings import Count


class AsppSettings(EncoderSettings):
    """A dilated encoder, and atrous convolutions at several rates on its last features."""

    output_stride: Dilated = 16  # by how much the encoder shrinks the image, 8 or 16: finer features cost time and memory
    decoder_channels: Count = 256  # of each branch of the atrous pyramid, and after it
    dropout: Dropout = 0.5  # after the atrous pyramid
    auxiliary: Auxiliary = 0.0  # share of an auxiliary head at the encoder's last stage but one; the paper has none, torchvision trains with 0.5
