"""Pellucid: point it at a folder of images and get a classifier that you can see through."""
