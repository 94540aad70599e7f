"""Sends requests to one service over HTTP and turns failures into errors."""
