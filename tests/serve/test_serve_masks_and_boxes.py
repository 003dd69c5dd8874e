"""What the page shows of segmenters and detectors: the status and the picture of /live."""

from __future__ import annotations

import http.client
from typing import Any

import cv2
import numpy as np
import pytest

from edge_tta.run.controls import Controls
from edge_tta.run.sinks.page import PageSink
from edge_tta.run.stopping import StopRequest
from edge_tta.serve.place import Place
from edge_tta.show.colours import colour_of
from edge_tta.tasks.segmentation import MaskReading
from tests.frames.media import textured
from tests.run.test_masks_and_boxes import NAMES, every_task, looping
from tests.serve.pages import message

pytest.importorskip("bottle", reason="the page needs bottle: pip install 'edge-tta[serve]'")


def _shown(name: str) -> tuple[dict[str, Any], np.ndarray[Any, Any], Any]:
    """Status, picture and result of a frame that somebody looks at."""
    told: list[str] = []
    sink = PageSink(Place("127.0.0.1", 0), Controls(), told.append)
    with looping(name, sink) as loop:
        frames = loop.frames(StopRequest())
        next(frames)
        port = int(told[0].rstrip("/").rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/live")
        with connection.getresponse() as answer:
            message(answer)
            result = next(frames)
            status, jpeg = message(answer)
        connection.close()
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return status["status"], cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), result


@every_task
def test_the_state_is_that_the_source_answers_with_the_reason_and_both_readings(name: str) -> None:
    status, _, _ = _shown(name)
    assert status["frame"] == 1
    assert status["state"] == "source answers"
    assert status["why"].startswith("source answers: the adapted network is not clearly surer")
    guard = status["guard"]
    assert not guard["fell_back"]
    assert 0 <= guard["disagreement"] <= 1
    assert guard["parts"] == {"segment": "positions", "detect": "boxes"}[name]
    assert [event["kind"] for event in guard["events"]] == ["source answers"]
    for reading in (status["adapted"], status["source_network"]):
        shares = dict(reading["likeliest"])
        assert shares.keys() <= set(NAMES)
        assert sum(shares.values()) == pytest.approx(1)


def test_of_a_segmenter_the_mask_is_painted_over_the_picture_and_the_sources_beside_it() -> None:
    status, picture, result = _shown("segment")
    height, width = textured(1).shape[:2]
    assert picture.shape == (height, 2 * width, 3)
    reading = result.reading
    assert isinstance(reading, MaskReading)
    assert status["adapted"]["colours"] == {
        name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in result.own.legend
    }
    # The frame beneath is there by half, and so is the colour of the class.
    tint = 2.0 * picture[:, :width].mean((0, 1)) - textured(1).mean((0, 1))
    wanted = sum(share * np.array(colour_of(k)) for k, share in reading.shares.items())
    np.testing.assert_allclose(tint, wanted, atol=12)


def test_of_a_detector_the_boxes_are_drawn_into_the_picture() -> None:
    _, picture, result = _shown("detect")
    pixels = textured(1)
    assert picture.shape == pixels.shape
    differs = np.abs(picture.astype(int) - result.reading.painted(pixels, result.source)).max(2)
    assert np.median(differs) < 40, "but for the JPEG it is that picture"
    box = result.reading.boxes.corners[0] * np.tile(pixels.shape[1::-1], 2)
    x1, y1, _, y2 = box.round().astype(int)
    edge = np.abs(picture.astype(int) - pixels).max(2)[y1:y2, max(x1 - 1, 0) : x1 + 2]
    assert edge.max(1).mean() > 60, "its left side is drawn"
