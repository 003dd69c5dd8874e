"""Segmentation and detection on labelled pictures: sets, metrics, streams of corrupted frames."""
