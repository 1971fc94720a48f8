"""The item a design is given: a picture whose views are computed when they are first asked for."""

from __future__ import annotations

from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import DEFAULT_LIMITS, Limits, decode


class Picture:
    """A picture as pixels, luminance, coefficients, hash and quality, each computed once, on demand.

    The views are those of `pdq`; a design that needs only the hash never pays for more. `repr` shows
    nothing of the content.
    """

    __slots__ = ("_data", "_fingerprint", "_limits", "_luminance", "_pixels")

    def __init__(
        self,
        data: bytes | None = None,
        pixels: pdq.Pixels | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Use `from_bytes` or `from_pixels`."""
        if (data is None) == (pixels is None):
            raise ValueError("a picture is made from bytes or from pixels")
        self._data = data
        self._limits = limits
        self._pixels = pixels
        self._luminance: pdq.Floats | None = None
        self._fingerprint: pdq.Fingerprint | None = None

    @classmethod
    def from_bytes(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> Picture:
        """A picture file in memory, not decoded yet: bad bytes raise `PictureError` at the first view."""
        return cls(data=data, limits=limits)

    @classmethod
    def from_pixels(cls, pixels: pdq.Pixels) -> Picture:
        """Decoded pixels, (h, w, 3) uint8."""
        return cls(pixels=pixels)

    @property
    def pixels(self) -> pdq.Pixels:
        """(h, w, 3) uint8, sRGB.

        Raises:
            PictureError: if the bytes are no acceptable picture.
        """
        if self._pixels is None:
            assert self._data is not None
            self._pixels = decode(self._data, self._limits).pixels
        return self._pixels

    @property
    def luminance(self) -> pdq.Floats:
        """(h, w) float32, 0..255. Raises what `pixels` raises."""
        if self._luminance is None:
            self._luminance = pdq.luminance(self.pixels)
        return self._luminance

    @property
    def fingerprint(self) -> pdq.Fingerprint:
        """Hash, quality and coefficients together. Raises what `pixels` raises."""
        if self._fingerprint is None:
            self._fingerprint = pdq.fingerprint(self.luminance)
        return self._fingerprint

    @property
    def coefficients(self) -> pdq.Floats:
        """(256,) float32, signed distance from the median; entry j belongs to bit j of the hash."""
        return self.fingerprint.coefficients

    @property
    def hash(self) -> bytes:
        """The PDQ hash, 32 bytes."""
        return self.fingerprint.hash

    @property
    def quality(self) -> int:
        """PDQ's quality, 0..100."""
        return self.fingerprint.quality

    def __repr__(self) -> str:
        return "<Picture>"
