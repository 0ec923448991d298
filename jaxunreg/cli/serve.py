"""`jaxunreg serve`: a detector that answers over HTTP."""

import importlib
import os

import tyro

from jaxunreg.cli.console import say
from jaxunreg.cli.detectors import load_detector
from jaxunreg.cli.exit_codes import EXIT_CODES, SUCCESS
from jaxunreg.cli.options import Directory
from jaxunreg.errors import MissingPackageError
from jaxunreg.serving.access import allowed_hosts, check_access
from jaxunreg.serving.limits import Limits
from jaxunreg.serving.service import ScoringService

HELP = (
    """\
Score images that are sent over HTTP. Needs `pip install 'jaxunreg[serve]'`.

  jaxunreg serve model
  curl --data-binary @part.png http://127.0.0.1:8000/score
  curl -F image=@a.png -F image=@b.tif 'http://127.0.0.1:8000/score?heat_map=1'
  curl --data-binary @part.png http://127.0.0.1:8000/heat_map > heat_map.png

At / there is a page to drop an image on. POST /score takes the bytes of one image or a form of several (PNG, JPEG, BMP,
TIFF) and answers in JSON, with a heat map in base64 if asked. GET /healthz returns the threshold and milliseconds a
part, and GET /metrics returns counts for Prometheus.

The model is warm before the port opens. If --max-queue images wait or are scored, a request is refused with 503 and
Retry-After.

By default only this machine can connect. If others can, as with --host 0.0.0.0, every request must carry a token, in
the header `Authorization: Bearer TOKEN`. Other users of the machine can see the words of a command line, so put the
token into the variable JAXUNREG_TOKEN instead of --token. The traffic is not encrypted. Use a reverse proxy with TLS if
the network is not yours.

The address is printed on stdout once the service answers. Ctrl-C and SIGTERM stop it: it takes no more requests,
answers those that it has, and ends with 0.
"""
    + "\n"
    + EXIT_CODES.format(success="stopped", anomalies="", interrupted=" before it listened")
)

_LIMITS = Limits()


def serve(
    model: tyro.conf.Positional[Directory],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    max_queue: int = 32,
    false_positive_rate: float | None = None,
    reject: float | None = None,
    review: float | None = None,
    top_k: int | None = None,
    limits: Limits = _LIMITS,
) -> int:
    """Score images that are sent over HTTP.

    Args:
      model: folder that `jaxunreg fit` wrote.
      host: address to listen at; 0.0.0.0 for all addresses of this machine.
      port: port to listen at; 0 for any free port.
      token: token that requests must carry; default: the variable JAXUNREG_TOKEN. Needed beyond this machine.
      max_queue: the most images that wait or are scored at a time.
      false_positive_rate: share of normal images that may be called anomalous; default: as fitted.
      reject: another name for --false-positive-rate.
      review: share of normal images that may be reviewed or rejected. Verdicts are then pass, review and reject.
      top_k: the score is the mean of this many most anomalous places or patches; default: as fitted.
      limits: limits of one request.
    """
    token = token if token is not None else os.environ.get("JAXUNREG_TOKEN") or None
    check_access(host, token)
    for package in ("starlette", "uvicorn", "python_multipart", "prometheus_client"):
        _check_installed(package)
    from jaxunreg.serving.http import make_app
    from jaxunreg.serving.server import Server, bound_socket

    with bound_socket(host, port) as bound:
        detector = load_detector(model, false_positive_rate, top_k, reject=reject, review=review)
        with ScoringService(detector, max_queue=max_queue) as service:
            say(f"warming up: {detector.summary()}")
            service.warm_up()
            app = make_app(service, limits=limits, token=token, hosts=allowed_hosts(host))
            Server(app, bound, patience=limits.timeout).run(lambda address: print(address, flush=True))
    took = f"; a part took {service.timings.summary()}" if service.timings.count else ""
    say(f"stopped; {service.timings.count} images were scored{took}")
    say(service.drift().sentence)
    return SUCCESS


def _check_installed(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"no package {package}", "the packages of the extra `serve`", "run `pip install 'jaxunreg[serve]'`"
        ) from error
