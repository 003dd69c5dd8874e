"""The main job: a stream of frames through an adapting network, watched and recorded."""
