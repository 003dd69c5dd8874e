"""An RTSP camera: /usr/bin/python3 rtsp_server.py PORT (0: only say by the exit code if it could).

Serves rtsp://127.0.0.1:PORT/cam, motion JPEG over RTP, until killed.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

PIPELINE = (
    "( videotestsrc is-live=true pattern=ball "
    "! video/x-raw,format=I420,width=160,height=120,framerate=25/1 "
    "! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
)


def main(port: str) -> int:
    """Serve, or say whether it could."""
    try:
        gi: Any = importlib.import_module("gi")
        gi.require_version("Gst", "1.0")
        gi.require_version("GstRtspServer", "1.0")
        from gi.repository import GLib, Gst, GstRtspServer
    except (ImportError, ValueError):
        return 1
    Gst.init(None)
    needed = ("videotestsrc", "jpegenc", "rtpjpegpay")
    if any(Gst.ElementFactory.find(name) is None for name in needed):
        return 1
    if port != "0":
        server = GstRtspServer.RTSPServer()
        server.set_service(port)
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(PIPELINE)
        factory.set_shared(True)
        server.get_mount_points().add_factory("/cam", factory)
        server.attach(None)
        GLib.MainLoop().run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
