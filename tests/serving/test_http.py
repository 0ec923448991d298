"""The service over HTTP, asked through a real socket: answers, formats, limits, refusals, the token, and the end."""

import base64
import http.client
import io
import json
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import jaxunreg as ju
from jaxunreg.serving.access import allowed_hosts, check_access
from jaxunreg.serving.limits import Limits
from tests.serving.conftest import broken, encoded, form, part

TOKEN = "0123456789abcdef"


@pytest.fixture
def held(monkeypatch):
    """Holds every pass of a detector until it is set."""
    let, inspect = threading.Event(), ju.AnomalyDetector.inspect

    def later(self, *args, **kwargs):
        assert let.wait(30)
        return inspect(self, *args, **kwargs)

    monkeypatch.setattr(ju.AnomalyDetector, "inspect", later)
    yield let
    let.set()


def until(condition) -> None:
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_the_answer_is_the_detectors(serve, detector):
    served = serve()
    for pixels in (part(100), broken(101), broken(102, 64, 33)):
        reply = served.ask("POST", "/score?name=parts/a.png", encoded(pixels))
        [verdict] = detector.scores([pixels])
        assert reply.status == 200
        [row] = reply.json["results"]
        assert row["name"] == "a.png"
        assert row["score"] == pytest.approx(verdict.score, rel=1e-5)
        assert (row["p_value"], row["threshold"]) == (verdict.p_value, verdict.threshold)
        assert row["verdict"] == ("anomalous" if verdict.is_anomalous else "normal")
        assert [row[name] for name in ("top", "left", "height", "width")] == list(verdict.worst)
        assert "heat_map" not in row


def test_a_form_of_several_formats_is_answered_in_order(serve, detector):
    gray = broken(3)[..., 0]
    deep = gray.astype(np.uint16) * 257
    files = [
        ("a.png", encoded(broken(1))),
        ("b.jpg", encoded(part(2), "JPEG")),
        ("c.tif", encoded(deep, "TIFF")),
        ("d.bmp", encoded(gray, "BMP")),
        ("e.png", b"no image"),
    ]
    reply = serve().ask("POST", "/score?heat_map=1", *form(*files))
    assert reply.status == 200
    rows = reply.json["results"]
    assert [row["name"] for row in rows] == [name for name, _ in files]
    assert [row["verdict"] for row in rows] == ["anomalous", "normal", "anomalous", "anomalous", "skipped"]
    assert rows[2]["score"] == pytest.approx(rows[3]["score"], rel=1e-4)
    assert "no PNG, JPEG, BMP or TIFF" in rows[4]["reason"]
    picture = Image.open(io.BytesIO(base64.b64decode(rows[0]["heat_map"])))
    assert (picture.format, picture.size) == ("PNG", (56, 40))


def test_the_heat_map_is_brightest_on_the_defect(serve):
    served = serve()
    reply = served.ask("POST", "/heat_map", encoded(broken(1)))
    assert (reply.status, reply.headers["content-type"]) == (200, "image/png")
    assert json.loads(reply.headers["x-verdict"])["verdict"] == "anomalous"
    found = np.asarray(Image.open(io.BytesIO(reply.body)), float)
    colored = found.max(axis=2) - found.min(axis=2)
    inside = np.zeros((40, 56), bool)
    inside[16:28, 8:20] = True
    assert colored[inside].mean() > 3 * colored[~inside].mean()
    assert served.ask("POST", "/heat_map", *form(("a", encoded(part(1))), ("b", encoded(part(2))))).status == 400


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"", {}, 400, "an empty body"),
        (b"no image", {}, 422, "no PNG, JPEG, BMP or TIFF"),
        (encoded(part(0))[:-200], {}, 422, "cannot be decoded"),
        (encoded(part(0, 8, 8)), {}, 422, "expected at least"),
        (encoded(np.zeros((300, 300, 3), np.uint8)), {}, 422, "has 300x300 pixels; expected at most 40000 of them"),
        (bytes(70_000), {}, 413, "at most 65536"),
        (iter([bytes(40_000), bytes(40_000)]), {}, 413, "at most 65536"),
        (b"nothing", {"Content-Type": "multipart/form-data; boundary=limit"}, 400, "a form"),
        (form()[0], form()[1], 400, "a form without a file"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_advice(serve, body, headers, status, message):
    served = serve(limits=Limits(max_bytes=65536, max_pixels=40_000))
    reply = served.ask("POST", "/score", body, headers)
    assert reply.status == status
    assert message in reply.json["error"]
    assert set(reply.json) >= {"got", "expected", "advice"}
    assert served.service.places.taken == 0
    assert served.ask("POST", "/score", encoded(part(1))).status == 200


def test_no_request_compiles_anything_after_the_warm_up(serve, compiled):
    served = serve()
    served.service.warm_up()
    before = len(compiled)
    for k, size in enumerate([(40, 56), (41, 60), (64, 33)]):
        assert served.ask("POST", "/score", encoded(part(k, *size))).status == 200
        assert served.ask("POST", "/score?heat_map=1&regions=1", encoded(broken(k, *size))).status == 200
        assert served.ask("POST", "/heat_map", encoded(broken(k, *size)[..., 0])).status == 200
    assert len(compiled) == before > 0


def test_regions_are_those_of_the_detector(serve, detector):
    served = serve()
    pixels = broken(5)
    [row] = served.ask("POST", "/score?regions=1&drift=0", encoded(pixels)).json["results"]
    regions = detector.regions(next(detector.inspect([pixels], pixels=True)))
    assert [(found["top"], found["left"], found["area"]) for found in row["regions"]] == [
        (region.box.top, region.box.left, region.area) for region in regions
    ]
    assert [found["peak"] for found in row["regions"]] == pytest.approx([region.peak for region in regions], rel=1e-4)
    assert len(row["regions"]) > 0
    assert "heat_map" not in row
    assert served.service.drift().parts == 0
    old = serve(detector=replace(detector, pixel_peaks=None))
    assert old.ask("GET", "/healthz").json["regions"] is False
    refused = old.ask("POST", "/score?regions=1", encoded(pixels))
    assert (refused.status, "recalibrate" in refused.json["advice"]) == (400, True)


def test_named_regions_and_a_review_band_are_told(serve, detector):
    banded = replace(detector, false_positive_rate=0.05, review_rate=0.5)
    served = serve(detector=banded)
    rows = [served.ask("POST", "/score", encoded(pixels)).json["results"][0] for pixels in (part(1), broken(2))]
    for row, verdict in zip(rows, banded.scores([part(1), broken(2)]), strict=True):
        assert (row["verdict"], row["is_anomalous"]) == (verdict.outcome, verdict.is_anomalous)
        assert row["review_threshold"] == banded.review_threshold
    assert rows[1]["verdict"] == "reject"
    text = served.ask("GET", "/metrics").body.decode()
    assert 'jaxunreg_images_total{verdict="reject"} 1.0' in text


def test_an_image_that_does_not_fit_the_mask_of_the_detector_is_told(serve, detector):
    ignored = np.zeros((40, 56), bool)
    ignored[:8] = True
    served = serve(detector=replace(detector, ignored=ignored))
    reply = served.ask("POST", "/score", *form(("a.png", encoded(part(1))), ("b.png", encoded(part(1, 56, 40)))))
    assert (reply.status, [row["verdict"] for row in reply.json["results"]]) == (200, ["normal", "skipped"])
    assert "cannot be scored (" in reply.json["results"][1]["reason"]


def test_a_full_queue_says_when_to_come_back(serve, held):
    served = serve(max_queue=2)
    replies: list = []
    clients = [
        threading.Thread(target=lambda: replies.append(served.ask("POST", "/score", encoded(part(1)))))
        for _ in range(2)
    ]
    for client in clients:
        client.start()
    until(lambda: served.service.places.taken == 2)
    refused = served.ask("POST", "/score", encoded(part(2)))
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert "2 wait or are scored" in refused.json["error"]
    assert served.ask("GET", "/healthz").json["queue"] == {"places": 2, "taken": 2}
    held.set()
    for client in clients:
        client.join()
    assert [reply.status for reply in replies] == [200, 200]
    assert served.ask("POST", "/score", *form(*[("a.png", encoded(part(1)))] * 3)).status == 413
    assert served.ask("POST", "/score", *form(*[("a.png", encoded(part(1)))] * 2)).status == 200


def test_time_limits_of_a_body_and_of_scores(serve, held):
    served = serve(limits=Limits(timeout=0.3))
    reply = served.ask("POST", "/score", encoded(part(1)))
    assert (reply.status, reply.json["got"]) == (504, "scores that were not there after 0.3 s")
    host, port = served.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as slow:
        slow.sendall(b"POST /score HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nslow")
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")
    until(lambda: served.service.places.taken == 0)


def test_a_client_that_goes_away_frees_its_place(serve, held):
    served = serve()
    connection = http.client.HTTPConnection(served.address.removeprefix("http://"))
    connection.request("POST", "/score", encoded(part(1)))
    until(lambda: served.service.places.taken == 1)
    connection.close()
    until(lambda: served.service.places.taken == 0)
    assert b'jaxunreg_refused_requests_total{reason="client gone"} 1.0' in served.ask("GET", "/metrics").body


def test_the_token_is_asked_for_where_parts_are_shown(serve):
    served = serve(token=TOKEN)
    body = encoded(part(1))
    for headers in ({}, {"Authorization": "Bearer 0123456789abcdeg"}, {"Authorization": f"Basic {TOKEN}"}):
        reply = served.ask("POST", "/score", body, headers)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert TOKEN not in reply.body.decode()
        assert served.ask("GET", "/metrics", headers=headers).status == 401
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert served.ask("POST", "/score", body, bearer).status == 200
    assert served.ask("GET", "/metrics", headers=bearer).status == 200
    assert served.ask("GET", "/healthz").status == 200


def test_beyond_this_machine_a_token_is_needed():
    check_access("127.0.0.1", None)
    check_access("0.0.0.0", TOKEN)
    with pytest.raises(ju.JaxunregError, match="which other machines can reach; expected a token"):
        check_access("0.0.0.0", None)
    for token in ("short", "0123456789 abcdef", "0123456789äbcdef"):
        with pytest.raises(ju.JaxunregError, match="at least 16 of ASCII without blanks"):
            check_access("127.0.0.1", token)


def test_another_sites_name_for_this_machine_is_refused(serve):
    served = serve(hosts=allowed_hosts("127.0.0.1"))
    assert served.ask("GET", "/healthz").status == 200
    for host in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000"):
        assert served.ask("GET", "/healthz", headers={"Host": host}).status == 200
    assert served.ask("GET", "/healthz", headers={"Host": "odd.example"}).status == 400


def test_metrics_count_what_was_answered(serve, detector):
    served = serve()
    p_values = [verdict.p_value for verdict in detector.scores([part(1), broken(2)])]
    for body in (encoded(part(1)), encoded(broken(2)), b"no image"):
        served.ask("POST", "/score", body)
    text = served.ask("GET", "/metrics").body.decode()
    counts = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert counts['jaxunreg_images_total{verdict="normal"}'] == "1.0"
    assert counts['jaxunreg_images_total{verdict="anomalous"}'] == "1.0"
    assert counts['jaxunreg_images_total{verdict="skipped"}'] == "1.0"
    assert counts['jaxunreg_refused_requests_total{reason="no usable image"}'] == "1.0"
    assert float(counts["jaxunreg_p_value_sum"]) == pytest.approx(sum(p_values))
    assert counts["jaxunreg_score_seconds_count"] == "2.0"
    assert counts["jaxunreg_queue_taken"] == "0.0"
    assert counts["jaxunreg_drift_parts"] == "2.0"
    assert served.ask("GET", "/healthz").json["drift"]["sentence"].startswith("no sign of drift")


def test_the_end_answers_what_has_come_and_takes_nothing_more(detector, held):
    from jaxunreg.serving.http import make_app
    from jaxunreg.serving.server import Server, bound_socket
    from jaxunreg.serving.service import ScoringService
    from tests.serving.conftest import Served

    service, addresses, replies = ScoringService(detector), [], []
    with bound_socket("127.0.0.1", 0) as bound:
        server = Server(make_app(service), bound, patience=20.0)
        running = threading.Thread(target=server.run, args=[addresses.append])
        running.start()
        until(lambda: addresses)
        served = Served(service, addresses[0])
        client = threading.Thread(target=lambda: replies.append(served.ask("POST", "/score", encoded(broken(1)))))
        client.start()
        until(lambda: service.places.taken == 1)
        server.stop()
        time.sleep(0.3)
        held.set()
        client.join()
        running.join()
    assert [reply.status for reply in replies] == [200]
    with pytest.raises(OSError, match="refused"):
        served.ask("GET", "/healthz")
    with pytest.raises(ju.JaxunregError, match="closed"):
        service.submit(part(1))


def test_the_page_is_one_file_that_asks_no_other_site(serve):
    reply = serve().ask("GET", "/")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert b"http://" not in reply.body
    assert b"https://" not in reply.body
    assert b"innerHTML" not in reply.body
