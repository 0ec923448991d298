"""The reasons for refusing a request, with their HTTP status."""

from typing import Any, ClassVar

from jaxunreg.errors import JaxunregError


class RequestError(JaxunregError):
    """A request cannot be answered with scores.

    Attributes:
      status: HTTP status.
    """

    status: ClassVar[int] = 400

    reason: ClassVar[str] = "wrong request"
    """A short name, under which such requests are counted."""

    def described(self) -> dict[str, Any]:
        """Return the error as JSON data.

        >>> RequestError("no image", "one or more", "send it as the body").described()["error"]
        'got no image; expected one or more; send it as the body'
        """
        return {"error": str(self), "got": self.got, "expected": self.expected, "advice": self.advice}


class TokenError(RequestError):
    """A request has no token, or another one."""

    status, reason = 401, "token"


class BodyTimeError(RequestError):
    """A body did not arrive in time."""

    status, reason = 408, "slow body"


class TooLargeError(RequestError):
    """A body has too many bytes, or a request too many images."""

    status, reason = 413, "too large"


class UnusableImageError(RequestError):
    """None of the images of a request can be used."""

    status, reason = 422, "no usable image"


class ScoreTimeError(RequestError):
    """Scores were not ready in time."""

    status, reason = 504, "slow answer"


class GoneError(RequestError):
    """A client did not wait for its answer."""

    status, reason = 499, "client gone"
