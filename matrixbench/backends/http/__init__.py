"""Chat APIs over HTTP: requests, replies, streams, refusals."""
