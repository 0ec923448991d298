"""Why a request is refused, with the status that HTTP has for it."""

from typing import Any, ClassVar

from jaxunreg.errors import JaxunregError


class RequestError(JaxunregError):
    """A request that cannot be answered with scores.

    Attributes:
      status: of HTTP.
    """

    status: ClassVar[int] = 400

    reason: ClassVar[str] = "wrong request"
    """A few words for it, which count such requests."""

    def described(self) -> dict[str, Any]:
        """The error as JSON data.

        >>> RequestError("no image", "one or more", "send it as the body").described()["error"]
        'got no image; expected one or more; send it as the body'
        """
        return {"error": str(self), "got": self.got, "expected": self.expected, "advice": self.advice}


class TokenError(RequestError):
    """A request without the token, or with another one."""

    status, reason = 401, "token"


class BodyTimeError(RequestError):
    """A body that did not arrive in time."""

    status, reason = 408, "slow body"


class TooLargeError(RequestError):
    """A body of too many bytes, or a request of too many images."""

    status, reason = 413, "too large"


class UnusableImageError(RequestError):
    """A request none of whose images can be used."""

    status, reason = 422, "no usable image"


class ScoreTimeError(RequestError):
    """Scores that were not there in time."""

    status, reason = 504, "slow answer"


class GoneError(RequestError):
    """A client that did not wait for its answer."""

    status, reason = 499, "client gone"
