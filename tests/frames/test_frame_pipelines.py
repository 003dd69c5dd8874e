"""GStreamer pipelines and CSI addresses; the wheels' OpenCV has no GStreamer, the system's may."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import edge_tta
from edge_tta.errors import SourceError
from edge_tta.frames import csi
from edge_tta.frames.csi import BGR_SINK, csi_pipeline

ROOT = Path(edge_tta.__file__).resolve().parents[1]
SYSTEM_PYTHON = "/usr/bin/python3"
HAS_GSTREAMER = "import cv2, sys; sys.exit(not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))"
READ = f"""
from edge_tta.frames import open_source
spec = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120 ! {BGR_SINK}"
with open_source(spec, max_frames=5) as source:
    frames = list(source)
assert [frame.index for frame in frames] == [0, 1, 2, 3, 4], frames
assert all(frame.pixels.shape == (120, 160, 3) for frame in frames)
"""


def _system(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SYSTEM_PYTHON, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_a_pipeline_is_read_where_opencv_has_gstreamer() -> None:
    if not Path(SYSTEM_PYTHON).exists() or _system(HAS_GSTREAMER).returncode:
        pytest.skip("the system's Python has no OpenCV with GStreamer: apt install python3-opencv")
    done = _system(READ)
    assert done.returncode == 0, done.stderr


def test_a_jetson_camera_is_nvidias_element_with_its_memory_and_flip() -> None:
    pipeline = csi_pipeline("csi://1?width=640&height=480&fps=15&flip=2", jetson=True)
    assert pipeline.startswith("nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),")
    assert "width=640,height=480,framerate=15/1,format=NV12" in pipeline
    assert "nvvidconv flip-method=2 ! video/x-raw,format=BGRx" in pipeline
    assert pipeline.endswith(BGR_SINK)


def test_elsewhere_it_is_libcamera_at_the_rate_asked_for() -> None:
    pipeline = csi_pipeline("csi://0", fps=9.6, jetson=False)
    assert pipeline.startswith("libcamerasrc ! video/x-raw,width=1280,height=720,framerate=10/1")


def test_an_address_without_a_number_is_the_first_camera() -> None:
    assert csi_pipeline("csi://", jetson=True) == csi_pipeline("csi://0", jetson=True)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("csi://front", "camera number"),
        ("csi://0/1", "camera number"),
        ("csi://0?hight=480", "unknown hight; known are width"),
        ("csi://0?height=1e3", "height must be a whole number from 16 to 8192"),
        ("csi://0?fps=", "fps must be a whole number from 1 to 240"),
        ("csi://0?flip=2", "flip is for Jetson"),
        ("csi://1", "camera-name=NAME"),
    ],
)
def test_addresses_that_cannot_be_are_refused(spec: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        csi_pipeline(spec, jetson=False)


def test_a_missing_camera_element_is_told_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "gst-inspect-1.0"
    tool.write_text("#!/bin/sh\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="apt install nvidia-l4t-gstreamer"):
        csi.check_element(csi_pipeline("csi://0", jetson=True))
    tool.write_text("#!/bin/sh\nexit 0\n")
    csi.check_element(csi_pipeline("csi://0", jetson=True))
