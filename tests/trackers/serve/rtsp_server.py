"""An RTSP camera for tests, run by the system's Python with Debian's gir1.2-gst-rtsp-server-1.0 and GStreamer.

Usage: rtsp_server.py PORT CODEC. Prints "ready", then obeys lines on standard input: ``gate SHARE`` loses that share of
the encoded pictures, ``size W H FPS`` changes them, ``jump SECONDS`` sets the camera's clock. Ends with its input.
"""

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

ENCODERS = {
    "x264enc": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! identity name=gate ! "
    "rtph264pay name=pay0 config-interval=-1 pt=96",
    "jpegenc": "jpegenc ! identity name=gate ! rtpjpegpay name=pay0 pt=26",
}


class Factory(GstRtspServer.RTSPMediaFactory):
    """Pictures of a moving ball over a clock."""

    def __init__(self, codec):
        super().__init__()
        self.set_shared(True)
        self.codec, self.caps, self.elements = codec, (320, 240, 20), []

    def do_create_element(self, url):
        width, height, fps = self.caps
        pipeline = Gst.parse_launch(
            "( videotestsrc is-live=true pattern=ball background-color=0xff336655 ! capsfilter name=caps "
            f"caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! {ENCODERS[self.codec]} )"
        )
        self.elements.append(pipeline)
        return pipeline


def obey(factory):
    """Commands, until there are no more."""
    for line in sys.stdin:
        name, *values = line.split()
        for pipeline in factory.elements:
            if name == "gate":
                pipeline.get_by_name("gate").set_property("drop-probability", float(values[0]))
            elif name == "jump":
                pipeline.get_by_name("gate").get_static_pad("src").set_offset(int(float(values[0]) * 1e9))
            elif name == "size":
                factory.caps = width, height, fps = tuple(map(int, values))
                text = f"video/x-raw,format=I420,width={width},height={height},framerate={fps}/1"
                pipeline.get_by_name("caps").set_property("caps", Gst.Caps.from_string(text))
        print("done", flush=True)
    loop.quit()


Gst.init(None)
codec = sys.argv[2]
if codec not in ENCODERS or Gst.ElementFactory.find(codec) is None:
    sys.exit(f"no {codec}")
loop = GLib.MainLoop()
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = Factory(codec)
server.get_mount_points().add_factory("/live", factory)
if not server.attach(None):
    sys.exit("port taken")
threading.Thread(target=obey, args=(factory,), daemon=True).start()
print("ready", flush=True)
loop.run()
